"""Calling a user's code: what it raises becomes one message with the place, what it prints goes to standard error."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from opnorm.errors import OpnormError, UsageError
from opnorm.experiment.data.words import shown

LONGEST = 300


def called(function: Callable[..., Any], *given: Any, what: str, where: str = "", numbers: bool = False) -> Any:
    """What `function` returns. what: the call, for the message. where: the file whose line is named, if it is in it.

    numbers: what arithmetic does wrong passes as it is, to be counted as a training that failed.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*given)
    except OpnormError:
        raise
    except SystemExit as error:
        raise UsageError(f"{what} ended the program (sys.exit); put that under if __name__ == '__main__'") from error
    except Exception as error:
        if numbers and _of_numbers(error):
            raise
        raise UsageError(_told(error, what, where)) from error


def _of_numbers(error: Exception) -> bool:
    import numpy as np
    import torch

    return isinstance(error, ArithmeticError | np.linalg.LinAlgError | torch.linalg.LinAlgError)


def _told(error: Exception, what: str, where: str) -> str:
    words = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return f"{what} raised {type(error).__name__}: {words[:LONGEST]}{_place(error, where)}"


def _place(error: Exception, where: str) -> str:
    """The last line of the user's file on the way, else the last line of all."""
    if isinstance(error, SyntaxError):
        return f" ({shown(Path(error.filename or where).name)}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == where] or frames
    return f" ({shown(Path(own[-1].filename).name)}, line {own[-1].lineno})" if own else ""
