"""The child's end of the pipe: a line of JSON in, a line of JSON out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from vertebra.core import VertebraError

Answer = dict[str, Any]


def answer_orders(obey: Callable[[str, dict[str, Any]], Answer]) -> None:
    """Answer until the parent closes the pipe, as it does when it ends, however it ends.

    What libraries print is no answer and goes to stderr. Whatever an engine raises is the parent's
    to tell.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = obey(order.pop("order"), order)
        except VertebraError as error:
            answer = {"error": str(error)}
        except Exception as error:
            text = str(error).strip().splitlines() or [""]
            answer = {"error": f"{type(error).__name__}: {text[0][:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
