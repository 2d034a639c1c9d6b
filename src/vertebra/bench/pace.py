"""Whether the machine runs at its own pace, asked before and after each turn.

A machine that others share may run at two paces, from one moment to the next and for seconds or
minutes: two threads that work together then take 1.5 times as long, and a network 1.1 to 1.7 times.
No counter tells, and both members of a pair are slow, so a noise floor does not tell either. A
product of matrices on as many threads does (docs/decisions/0018).
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata

from vertebra.bench.wire import Child
from vertebra.evidence import Measurement

# How much slower than at its fastest a machine is when it is at another pace.
_SLOWER = 1.15
# Seconds for which a fast spell is waited for at most; between two looks at it; for which one look
# holds; after which it is told that one waits.
_PATIENCE, _LOOK, _HOLDS, _TOLD_AFTER = 90.0, 0.1, 0.05, 5.0
# The share of turns at another pace of which a measurement says so.
_SOME = 0.1


@dataclass
class Pace:
    """The machine's pace beside its fastest.

    Args:
        ask: seconds of the fixed work at this moment; by default every moment is as good.
        fastest: the least of these, as far as it is known.
        pids: of processes that do it, which disturb nothing.
        tell: called with one line where one has to wait.
    """

    ask: Callable[[], float] = lambda: 0.0
    fastest: float = float("inf")
    pids: tuple[int, ...] = ()
    tell: Callable[[str], None] = lambda _text: None
    _left: float = _PATIENCE
    _waited: float = 0.0
    _since: float | None = None
    _told: bool = False
    _taken: list[float] = field(default_factory=list)
    _lately: list[float] = field(default_factory=list)
    _now: float = 0.0
    _looked: float = float("-inf")
    _was_fast: float = field(default_factory=time.monotonic)

    def begin(self) -> None:
        """The turns of a group begin.

        Patience comes back as work is done: a bench waits for as long as it works, and 90 s more,
        whatever the machine does.
        """
        now = time.monotonic()
        worked = 0.0 if self._since is None else now - self._since - self._waited
        self._left = min(_PATIENCE, max(self._left, 0.0) + worked)
        self._since, self._waited = now, 0.0
        self._taken, self._told = [], False

    def wait(self) -> None:
        """Until the machine is at its pace, as long as there is patience."""
        begun = time.monotonic()
        if begun - self._looked > _HOLDS:
            self._look()
        while self._is_slow(self._now) and self._left > time.monotonic() - begun:
            time.sleep(_LOOK)
            self._say(time.monotonic() - begun)
            self._look()
        self._spend(begun)

    def held(self, begun: float) -> bool:
        """Whether a turn that was begun then counts: the machine was at its pace, or there is no
        patience left to wait for it.
        """
        self._look()
        slow = self._is_slow(self._now)
        if slow and self._left > 0:
            self._spend(begun)
            self._say()
            return False
        self._taken.append(self._now)
        return True

    @property
    def seconds(self) -> float | None:
        """Of the fixed work, the middle of the turns that count; None where none was asked for."""
        return statistics.median(self._taken) if any(self._taken) else None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said of the turns that count, in words."""
        slow = sum(map(self._is_slow, self._taken)) / max(len(self._taken), 1)
        if slow <= _SOME:
            return ()
        return (f"the machine was below its pace in {100 * slow:.0f} % of the turns",)

    def _look(self) -> None:
        self._now, self._looked = self.ask(), time.monotonic()
        self.fastest = min(self.fastest, self._now)
        if self._is_slow(self._now):
            self._lately.append(self._now)
        else:
            self._was_fast, self._lately = self._looked, []

    def _is_slow(self, seconds: float) -> bool:
        return seconds > _SLOWER * self.fastest

    def _say(self, spent: float = 0.0) -> None:
        """Once a group, that it takes longer, and how much at most."""
        if not self._told and self._waited + spent > _TOLD_AFTER:
            self._told = True
            left = max(self._left - spent, 0.0)
            self.tell(
                "the machine is not at its pace: turns wait for it or are taken again, for "
                f"{left:.0f} s more at most"
            )

    def _spend(self, begun: float) -> None:
        spent = time.monotonic() - begun
        self._left -= spent
        self._waited += spent
        # So long at another pace, it is this machine's now: a laptop that is warm, a busier host.
        if self._lately and time.monotonic() - self._was_fast > 2 * _PATIENCE:
            self.fastest = min(self._lately)


@contextlib.contextmanager
def paced(
    threads: int,
    known: Iterable[Measurement] = (),
    tell: Callable[[str], None] = lambda _text: None,
) -> Iterator[Pace]:
    """The pace of so many threads, while a process of its own tells it.

    ``known``: what was measured on this machine before, which tells its fastest. ``tell``: as in
    :class:`Pace`.
    """
    by = told_by(threads)
    before = [m.pace[1] for m in known if m.pace is not None and m.pace[0] == by]
    quiet = {"OPENBLAS_THREAD_TIMEOUT": "10", "KMP_BLOCKTIME": "0"}  # no thread spins afterwards
    each = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    with Child("vertebra.bench.pacer", threads, {**quiet, **each}) as child:
        child.ask("pace", 60)
        yield Pace(
            lambda: float(child.ask("pace", 60)["seconds"]),
            min(before, default=float("inf")),
            (child.pid,),
            tell,
        )


def told_by(threads: int) -> str:
    """Whose product of matrices it is: another version's may take another time."""
    return f"numpy {metadata.version('numpy')}, {threads} threads"
