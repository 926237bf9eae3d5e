"""Training by the program uniface-train: the package does not carry oneDNN."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from typing import Any, Callable, List, Optional

from . import _arrays
from .exceptions import (Cancelled, FormatError, InvalidArgument, Mismatch, NotSupported,
                         UniFaceError)
from .models import Model, load_model

STEP = re.compile(r"^step (\d+)/(\d+) ")
USAGE = 2  # exit status of a call that makes no sense


def program() -> str:
    """The path of uniface-train."""
    named = os.environ.get("UNIFACE_TRAIN")
    found = named if named and os.access(named, os.X_OK) else shutil.which("uniface-train")
    if not found:
        raise NotSupported(
            "training needs the program uniface-train, which is neither at $UNIFACE_TRAIN nor in "
            "$PATH: it is built with UniFace where oneDNN is installed (Debian: libdnnl-dev)")
    return found


def _models(teacher: Any) -> List[Model]:
    models = list(teacher) if isinstance(teacher, (list, tuple)) else [teacher]
    for m in models:
        if not isinstance(m, Model):
            raise InvalidArgument(f"teacher: got {_arrays.described(m)}, wants a uniface model")
    return models


def _sources(pictures: Any) -> List[str]:
    sources = pictures if isinstance(pictures, (list, tuple)) else [pictures]
    try:
        return [os.fsdecode(os.fspath(s)) for s in sources]
    except TypeError:
        raise InvalidArgument("pictures: wants paths of folders, archives or lists") from None


def _arguments(options: dict) -> List[str]:
    words: List[str] = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words.append(f"{option}={os.fspath(value) if isinstance(value, os.PathLike) else value}")
    return words


def _fail(status: int, text: str) -> None:
    message = re.sub(r"^uniface: ", "", text.strip().splitlines()[-1]) if text.strip() else "no word why"
    if status == USAGE:
        raise InvalidArgument(message)
    for words, kind in (("must both be", Mismatch), ("checkpoint", Mismatch), ("damaged", FormatError)):
        if words in message:
            raise kind(message)
    raise UniFaceError(message)


def _run(command: List[str], progress: Optional[Callable[[int, int], Any]]) -> None:
    said: List[str] = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as job:
        try:
            for line in job.stderr:  # type: ignore[union-attr]
                step = STEP.match(line)
                if not step:
                    said.append(line)
                elif progress:
                    progress(int(step[1]), int(step[2]))
        except BaseException:
            job.terminate()
            job.wait()
            raise
    if job.returncode < 0:
        raise Cancelled(f"training was ended by signal {-job.returncode}")
    if job.returncode:
        _fail(job.returncode, "".join(said))


def distill(teacher: Any, student: str, pictures: Any, detector: Any,
            progress: Optional[Callable[[int, int], Any]], options: dict) -> Model:
    """See uniface.optimization.distill."""
    teachers, sources = _models(teacher), _sources(pictures)
    train = program()
    with tempfile.TemporaryDirectory() as folder:
        def saved(model: Model, name: str) -> str:
            path = os.path.join(folder, name + ".ufm")
            model.save(path)
            return path
        names = [saved(m, f"teacher{i}") for i, m in enumerate(teachers)]
        output = os.path.join(folder, "student.ufm")
        command = [train, "distill", "--student", str(student), "--teacher", ",".join(names),
                   "--output", output, *_arguments(options)]
        if detector is not None:
            command += ["--detector", saved(_models(detector)[0], "detector")]
        _run(command + ["--", *sources], progress)
        return load_model(output)
