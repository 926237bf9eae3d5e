"""Many pictures: threads decode ahead while the networks run."""
from __future__ import annotations

import os
from types import MappingProxyType
from typing import Any, Callable, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Union

import numpy as np

from . import _arrays, _checks, _native
from .datasets import list_pictures
from .detection import Faces
from .exceptions import InvalidArgument, UniFaceError, of_status
from .models import FaceDetector, FaceEmbedder

Source = Union[str, bytes, "os.PathLike[str]"]


class Item(NamedTuple):
    """What became of one picture."""

    source: Any                       # the path; for bytes of a file the number of the picture
    faces: Optional[Faces]            # None without a detector, and where there is an error
    templates: Optional[np.ndarray]   # (faces, dimension) of float32; None without an embedder, or with an error
    width: int                        # pixels, in which the faces' coordinates are
    height: int
    error: Optional[UniFaceError]     # why this picture failed; None: it did not
    face_errors: Mapping[int, UniFaceError] = MappingProxyType({})  # why a face has zeros for a template, by its number


class Pipeline:
    """Decodes, finds faces and makes templates of any number of pictures, in bounded memory.

    A ring of pictures is decoded by threads of the library while others run the networks on those
    before, one thread for each core; the GIL is released all the time. Order is kept. A picture that
    fails has its error in its item and takes no other with it; so does a face where several are wanted.

        for item in uniface.Pipeline(detector, embedder).run("photos/"):
            if item.error is None and len(item.faces):
                print(item.source, item.templates[0])

    detector, embedder: one may be None. Without a detector each picture is an aligned face crop,
    scaled to the embedder's input; without an embedder faces are found only.
    max_faces: of a picture, best score first; 0: only the face that the picture is about. With
    max_faces a face that could not be embedded has a row of zeros in templates, its error in
    face_errors, and the item's error is None.
    batch: most pictures in one run of the networks. decoders: threads that decode, 0: one for each
    core. ring: pictures in work at a time, 0: 3 * batch, or 3 * threads if that is more.
    max_bytes: of pixels held at a time.
    min_side: JPEGs are decoded at 1/2, 1/4 or 1/8 of their size as long as the shorter side keeps
    so many pixels; 0: as many as the detector looks at, and more where a face would otherwise be
    smaller than the embedder's input; 32768: always at full size. Coordinates are those of the
    full size all the same.
    device: of the networks. threads: that run networks, 0: one for each core. One thread at a time
    may run a pipeline; after a fork it must be made anew (StateError says so).
    """

    def __init__(self, detector: Optional[FaceDetector] = None,
                 embedder: Optional[FaceEmbedder] = None, *, max_faces: int = 0, batch: int = 8,
                 decoders: int = 0, ring: int = 0, max_bytes: int = 256 << 20, min_side: int = 0,
                 max_pixels: int = 100_000_000, device: str = "CPU", threads: int = 0) -> None:
        if detector is None and embedder is None:
            raise InvalidArgument("detector, embedder: one of them must be given")
        for name, model, kind in (("detector", detector, FaceDetector),
                                  ("embedder", embedder, FaceEmbedder)):
            if model is not None and not isinstance(model, kind):
                raise InvalidArgument(
                    f"{name}: got {_arrays.described(model)}, wants a {kind.__name__}")
        _checks.text(device, "device")
        for name, value, most in (("max_faces", max_faces, 1024), ("batch", batch, 256),
                                  ("decoders", decoders, 256), ("ring", ring, 65536),
                                  ("max_bytes", max_bytes, 1 << 62), ("threads", threads, 1024),
                                  ("min_side", min_side, _arrays.MAX_SIDE),
                                  ("max_pixels", max_pixels, 1 << 62)):
            _checks.whole(value, name, 0, most)
        options = detector._options if detector else {}
        score, nms = (-1.0 if options.get(name) is None else float(options[name])
                      for name in ("score_threshold", "nms_threshold"))
        flip = bool(embedder._options["flip"]) if embedder else False
        self._new = lambda: _native.pipeline_new(
            detector._handle if detector else None, embedder._handle if embedder else None, device,
            threads, options.get("size", 0), score, nms, decoders, batch, ring, max_faces, flip,
            max_bytes, min_side, max_pixels)
        _native.close(self._new())  # what is wrong with the options shows now, not at the first run
        self._dimension = embedder.dimension if embedder else 0

    def run(self, sources: Union[Source, Iterable[Source]],
            progress: Optional[Callable[[int, Optional[int]], Any]] = None) -> Iterator[Item]:
        """Items in the order of the sources. sources: a folder (its pictures, sorted, and those
        below it), or an iterable, endless ones included, of paths and of bytes of files.
        progress(done, total): after each item; total is None when the sources have no length.
        """
        if isinstance(sources, (str, os.PathLike)):
            sources = list_pictures(sources) if os.path.isdir(sources) else [sources]
        elif isinstance(sources, (bytes, bytearray)):
            raise InvalidArgument("sources: got bytes, wants a list of them")
        elif not hasattr(sources, "__iter__"):
            raise InvalidArgument(f"sources: got {_arrays.described(sources)}, wants a folder, paths "
                                  "or bytes of files")
        if progress is not None and not callable(progress):
            raise InvalidArgument(f"progress: got {_arrays.described(progress)}, wants a function")
        total = len(sources) if hasattr(sources, "__len__") else None  # type: ignore[arg-type]
        return self._items(iter(sources), total, progress)

    def _items(self, sources: Iterator[Source], total: Optional[int],
               progress: Optional[Callable[[int, Optional[int]], Any]]) -> Iterator[Item]:
        handle = self._new()
        waiting: List[Any] = []  # sources in the ring, oldest first
        done, more = 0, True
        try:
            while True:
                while more and _native.pipeline_facts(handle)[0]:
                    try:
                        source = next(sources)
                    except StopIteration:
                        more = False
                        break
                    waiting.append(self._put(handle, source, done + len(waiting)))
                if not waiting:
                    return
                item = self._item(waiting.pop(0), _native.pipeline_next(handle))
                done += 1
                yield item
                if progress is not None:
                    progress(done, total)
        finally:
            _native.close(handle)

    @staticmethod
    def _put(handle: Any, source: Source, number: int) -> Any:
        if isinstance(source, (bytes, bytearray, memoryview)):
            _native.pipeline_put(handle, bytes(source), False)
            return number
        if not isinstance(source, (str, os.PathLike)):
            raise InvalidArgument(
                f"sources: got {_arrays.described(source)}, wants paths or bytes of files")
        _native.pipeline_put(handle, _arrays.path_bytes(source, "sources"), True)
        return source

    def _item(self, source: Any, answer: tuple) -> Item:
        status, message, width, height, rows, templates, faults = answer
        return Item(
            source,
            None if rows is None else Faces(np.frombuffer(rows, np.float32)),
            (None if templates is None
             else np.frombuffer(templates, np.float32).reshape(-1, self._dimension)),
            width, height, of_status(status, message) if status else None,
            {face: of_status(*fault) for face, fault in faults.items()})
