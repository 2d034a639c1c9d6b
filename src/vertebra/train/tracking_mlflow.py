"""MLflow's side of tracking: one MLflow run for each run, gone on with when that is resumed.

MLflow deletes no metric. What a killed run had logged after its checkpoint therefore stays, and the
resumed run, which repeats these steps, logs each name only from the step on that is not there yet.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from typing import Any

from vertebra.core import VertebraError
from vertebra.runs import Recipe, Run
from vertebra.train.tracking import FILE, Row, Tell, parameters, remember, remembered

EXPERIMENT = "vertebra"
# MLflow's own limits of one request, and of a value's length.
_METRICS, _PARAMETERS, _LONGEST = 1000, 100, 6000
_PASSWORD = re.compile(r"(?<=://)[^/@\s]*:[^/\s]*@")
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
# Read when MLflow is imported. No telemetry; and a server that is away must not hold up training
# for the four minutes that MLflow would wait by itself.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def client(uri: str | None) -> Any:
    """MLflow's client, with its telemetry off.

    Raises:
        VertebraError: MLflow has no store for such a URI.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    # What it says of the tables that it makes is nothing for the user.
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return MlflowClient(tracking_uri=uri)
    except (MlflowException, ImportError) as error:
        what = f"MLflow cannot track to {public(uri)}: {_first_line(error)}"
        raise VertebraError(what) from None


def public(uri: str | None) -> str:
    """A tracking URI without the password that it may hold, which belongs into no file."""
    return _PASSWORD.sub("***@", uri or "its default")


class MlflowSink:
    """Metrics by step, the recipe as parameters."""

    def __init__(self, run: Run, uri: str | None, tell: Tell) -> None:
        self._run, self._tell = run, tell
        self._known = remembered(run).get("mlflow", {})
        self._uri = self._known.get("uri", uri)
        self._client: Any = None
        self._id = self._known.get("run_id", "")
        self._logged: dict[str, int] = {}
        self._unsent: list[tuple[Row, int]] = []
        self._silent = False

    def open(self, recipe: Recipe, step: int) -> None:
        """Make the MLflow run, or find it again.

        Raises:
            VertebraError: MLflow does not answer, or has no such run any more.
        """
        try:
            self._client = client(self._uri)
            if self._id:
                self._go_on()
            else:
                self._begin(recipe)
        except VertebraError:
            raise
        except Exception as error:  # whatever a store's driver says
            advice = f"; remove {self._run.path / FILE} to go on without it" if self._id else ""
            raise VertebraError(
                f"MLflow at {public(self._uri)} does not answer: {_first_line(error)}{advice}"
            ) from None

    def write(self, rows: list[Row]) -> None:
        """Log figures, unless MLflow fell silent; then they wait for :meth:`sync`."""
        now = int(time.time() * 1000)
        # The resumed run repeats steps that are there already; what is there cannot be replaced.
        new = [(row, now) for row in rows if row[2] > self._logged.get(row[0], -1)]
        self._unsent += new
        self._logged.update({row[0]: row[2] for row, _ in new})
        if not self._silent:
            self._send()

    def sync(self) -> None:
        """Try once more what could not be logged."""
        self._send()

    def close(self, how: str, last: bool) -> None:
        """Say how the run ended."""
        self._send()
        if self._silent:
            self._tell(f"MLflow did not get the last {len(self._unsent)} figures")
            return
        self._guarded(lambda: self._client.set_terminated(self._id, _STATUS[how]))

    def _begin(self, recipe: Recipe) -> None:
        from mlflow.entities import Param

        name = self._run.path.resolve().name
        tags = {"vertebra.run": str(self._run.path.resolve()), "vertebra.recipe": recipe.digest}
        created = self._client.create_run(_experiment(self._client), run_name=name, tags=tags)
        self._id = created.info.run_id
        where = {"run_id": self._id}
        uri = str(self._client.tracking_uri)
        if public(uri) == uri:
            where["uri"] = uri
        remember(self._run, "mlflow", where)
        given = [Param(key, _text(value)) for key, value in parameters(recipe).items()]
        for some in _cut(given, _PARAMETERS):
            self._client.log_batch(self._id, params=some)

    def _go_on(self) -> None:
        for name in self._client.get_run(self._id).data.metrics:
            history = self._client.get_metric_history(self._id, name)
            self._logged[name] = max(metric.step for metric in history)
        self._client.update_run(self._id, status="RUNNING")

    def _send(self) -> None:
        from mlflow.entities import Metric

        while self._unsent:
            some = self._unsent[:_METRICS]
            metrics = [Metric(name, value, now, step) for (name, value, step), now in some]
            if not self._guarded(lambda m=metrics: self._client.log_batch(self._id, metrics=m)):
                return
            del self._unsent[: len(some)]

    def _guarded(self, call: Any) -> bool:
        """Whether MLflow answered; a run is worth more than its copy, so no error ends it."""
        try:
            call()
        except Exception as error:
            if not self._silent:
                self._tell(
                    f"MLflow does not answer ({_first_line(error)}): its figures wait, "
                    f"the run goes on"
                )
            self._silent = True
            return False
        if self._silent:
            self._tell("MLflow answers again")
        self._silent = False
        return True


def _experiment(client: Any) -> str:
    from mlflow.exceptions import MlflowException

    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            made: str = client.create_experiment(name)
            return made
        except MlflowException:  # another run made it in the meantime
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    identity: str = found.experiment_id
    return identity


def _cut(values: list[Any], size: int) -> list[list[Any]]:
    return [values[first : first + size] for first in range(0, len(values), size)]


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def _first_line(error: Exception) -> str:
    return public((str(error).strip() or type(error).__name__).splitlines()[0])
