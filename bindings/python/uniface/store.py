"""The model store: a folder of models that are known by name.

It is the folder of the command line too: $UNIFACE_MODELS, else $XDG_DATA_HOME/uniface/models, else
~/.local/share/uniface/models. `uniface import --default` keeps its defaults there as detector.ufm and
embedder.ufm.
"""
from __future__ import annotations

import os

from ._arrays import PathLike, path_bytes
from .exceptions import InvalidArgument, ModelNotFound

SUFFIX = ".ufm"


def folder() -> str:
    """Where models are looked for by name; it need not exist."""
    models = os.environ.get("UNIFACE_MODELS")
    if models:
        return models
    data = os.environ.get("XDG_DATA_HOME")
    return os.path.join(data or os.path.join(os.path.expanduser("~"), ".local", "share"), "uniface",
                        "models")


def names() -> list[str]:
    """Names of the models in the store, sorted."""
    try:
        files = os.listdir(folder())
    except OSError:
        return []
    return sorted(f[:-len(SUFFIX)] for f in files if f.endswith(SUFFIX))


def resolve(path_or_name: PathLike) -> str:
    """The file of a model: the path itself, with .ufm added, or a name in the store. Raises
    ModelNotFound, which says where it looked and how to put a model there."""
    try:
        name = os.fsdecode(path_bytes(path_or_name))
    except TypeError:
        raise InvalidArgument(
            f"model: got {path_or_name!r}, wants a path or a name of the store") from None
    candidates = [name] if name.endswith((SUFFIX, ".onnx", ".xml")) else [name, name + SUFFIX]
    if name and not os.path.isabs(name):
        base = name if name.endswith(SUFFIX) else name + SUFFIX
        candidates.append(os.path.join(folder(), base))
    for candidate in candidates:
        if os.path.isfile(candidate):
            return candidate
    stem = os.path.splitext(os.path.basename(name))[0] or "NAME"
    there = names()
    raise ModelNotFound(
        f"no model {name!r}: looked for {', '.join(candidates)}. The store {folder()} has "
        f"{', '.join(there) if there else 'no models'}. Put one there with `uniface import "
        f"NETWORK.onnx -o {os.path.join(folder(), stem + SUFFIX)}`")
