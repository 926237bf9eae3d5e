"""The model store: a folder of models that are known by name.

It is the folder of the command line and of the library too (uf_store_folder): $UNIFACE_MODELS, else
$UNIFACE_CACHE_DIR/models, else $XDG_DATA_HOME/uniface/models, else ~/.local/share/uniface/models. `uniface models`
looks after it; its defaults stand there as detector.ufm and embedder.ufm.
"""
from __future__ import annotations

import os

from . import _native
from ._arrays import PathLike, path_bytes
from .exceptions import InvalidArgument, ModelNotFound, NotFound

SUFFIX = ".ufm"


def folder() -> str:
    """Where models are looked for by name; it need not exist."""
    return os.fsdecode(_native.store_folder())


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
    if not isinstance(path_or_name, (str, bytes, os.PathLike)) or path_or_name in ("", b""):
        raise InvalidArgument(f"model: got {path_or_name!r}, wants a path or a name of the store")
    name = path_bytes(path_or_name, "model")
    try:
        return os.fsdecode(_native.store_find(name))
    except NotFound:
        pass
    stem = os.path.splitext(os.path.basename(os.fsdecode(name)))[0] or "NAME"
    raise ModelNotFound(
        f"no model {os.fsdecode(name)!r}: there is no such file, and the store {folder()} has "
        f"{', '.join(names()) or 'no models'}. Put one there with `uniface models pull NAME` (`uniface models list` shows "
        f"which there are) or `uniface import NETWORK.onnx -o {os.path.join(folder(), stem + SUFFIX)}`")
