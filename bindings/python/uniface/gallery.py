"""People and their templates: enrol, identify, verify, delete."""
from __future__ import annotations

import json
import math
from typing import Any, Dict, List, NamedTuple, Optional, Type

import numpy as np

from . import _arrays, _checks, _native
from ._arrays import PathLike
from .exceptions import InvalidArgument
from .models import FaceEmbedder

_CREATE, _PLAIN, _READ_ONLY = 1, 2, 4


def _json_of(metadata: Any) -> str:
    try:
        return json.dumps(metadata)
    except (TypeError, ValueError) as error:
        raise InvalidArgument(f"metadata: {error}") from None


class Candidate(NamedTuple):
    """A person whom a search found."""

    id: str
    score: float       # similarity of the person's best template, -1..1
    template_id: int
    passes: bool       # score >= the threshold of the search


class Person(NamedTuple):
    """What a gallery knows of a person. Times are seconds since 1970."""

    id: str
    collection: str
    metadata: Dict[str, Any]
    consent: Optional[str]
    purpose: Optional[str]
    expires: int       # 0: never
    created: int
    updated: int
    templates: int


class Receipt(NamedTuple):
    """Proof of a deletion against the audit log."""

    templates: int
    crops: int
    time: int
    audit_entry: int
    audit_digest: str


class GalleryStats(NamedTuple):
    """Counts and sizes (bytes) of a gallery."""

    people: int
    templates: int
    collections: int
    models: int
    database_bytes: int
    memory_bytes: int
    encrypted: bool
    backend: str       # "sqlite", "postgresql"
    warning: str       # what the operator should change; "": nothing
    model_id: str      # searched by default; "" when empty


class Gallery:
    """A file of people, which may be used by many threads and processes at once.

    Encrypted under `passphrase` or `key_file`, or, with neither, what UNIFACE_GALLERY_PASSPHRASE or
    UNIFACE_GALLERY_KEY_FILE name; plain=True makes one without encryption. Templates belong to an
    embedder: those of different models are never compared.

        with uniface.Gallery.open("people.ufg", passphrase="...", create=True) as gallery:
            gallery.enroll("ada", templates, embedder)
            for candidate in gallery.identify(template, embedder):
                ...

    A child process of a fork must open its own (StateError says so).
    """

    def __init__(self, handle: Any, name: str) -> None:
        self._handle = handle
        self.name = name

    @classmethod
    def open(cls: Type["Gallery"], path: PathLike, *, passphrase: Optional[str] = None,
             key_file: Optional[PathLike] = None, create: bool = False, plain: bool = False,
             read_only: bool = False, threads: int = 1, actor: Optional[str] = None,
             keep_crops: bool = False) -> "Gallery":
        """create: make it when there is none. threads: of one search, 0: all cores. actor: who
        acts, for the audit log. keep_crops: keep aligned crops, so that the model can be changed
        later. Raises NotFound, Mismatch (wrong key), FormatError, InvalidArgument, StateError."""
        flags = 0
        for name, flag, wanted in (("create", _CREATE, create), ("plain", _PLAIN, plain),
                                   ("read_only", _READ_ONLY, read_only)):
            flags |= flag if _checks.yes_or_no(wanted, name) else 0
        threads = _checks.whole(threads, "threads", 0, 1024)
        passphrase = _checks.text_or_none(passphrase, "passphrase")
        actor = _checks.text_or_none(actor, "actor")
        key = None if key_file is None else _arrays.path_bytes(key_file, "key_file").decode("utf-8",
                                                                                "surrogateescape")
        handle = _native.gallery_open(_arrays.path_bytes(path), flags, passphrase, key, threads,
                                      actor, _checks.yes_or_no(keep_crops, "keep_crops"))
        return cls(handle, str(path))

    def close(self) -> None:
        """Saves the index beside the gallery. Searches that run in other threads end first."""
        _native.close(self._handle)

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    # ---- people ----

    def enroll(self, id: str, templates: Any, embedder: FaceEmbedder, *,
               collection: Optional[str] = None, metadata: Optional[Dict[str, Any]] = None,
               consent: Optional[str] = None, purpose: Optional[str] = None, expires: int = 0,
               source: Optional[str] = None, quality: float = -1.0,
               crops: Any = None) -> List[int]:
        """Adds templates, (dimension,) or (N, dimension), to a person, who is made when new; their
        numbers. Durable when it returns. metadata, consent, purpose and expires (seconds since
        1970) replace what is there when given. crops: (N, size, size, 3) of uint8, kept (encrypted)
        when the gallery was opened with keep_crops. quality: 0..1, < 0: not known."""
        vectors = self._vectors(templates, embedder)
        id = _checks.text(id, "id")
        collection, consent, purpose, source = (
            _checks.text_or_none(value, name) for name, value in
            (("collection", collection), ("consent", consent), ("purpose", purpose),
             ("source", source)))
        quality = _checks.number(quality, "quality", -1, 1)
        expires = int(_checks.number(expires, "expires", 0, 1 << 62))
        kept = None
        if crops is not None:
            kept = np.ascontiguousarray(crops)
            if (kept.dtype != np.uint8 or kept.ndim != 4 or kept.shape[1] != kept.shape[2]
                    or kept.shape[3] != 3 or len(kept) != len(vectors)):
                raise _arrays.refuse("crops", kept, f"({len(vectors)}, size, size, 3) of uint8")
        return _native.gallery_enroll(
            self._handle, id, collection, None if metadata is None else _json_of(metadata), consent,
            purpose, expires, vectors.ctypes.data, len(vectors), vectors.shape[1],
            embedder.id, source, quality, 0 if kept is None else kept.ctypes.data,
            0 if kept is None else kept.shape[1])

    def people(self, collection: Optional[str] = None,
               metadata: Optional[str] = None) -> List[Person]:
        """People in the order of collection and id. collection None: of all. metadata
        "key=value": only those whose metadata has it."""
        return [Person(p[0], p[1], json.loads(p[2]) if p[2] else {}, *p[3:])
                for p in _native.gallery_people(self._handle,
                                                _checks.text_or_none(collection, "collection"),
                                                _checks.text_or_none(metadata, "metadata"))]

    def delete(self, id: str, collection: Optional[str] = None) -> Receipt:
        """Deletes a person: key, templates, crops, index; nothing is left. Raises NotFound."""
        return Receipt(*_native.gallery_delete(self._handle,
                                               _checks.text_or_none(collection, "collection"),
                                               _checks.text(id, "id")))

    # ---- ask ----

    def identify(self, template: Any, embedder: FaceEmbedder, *, top_k: int = 5,
                 collection: Optional[str] = None, fpir: float = 0.01,
                 threshold: Optional[float] = None, metadata: Optional[str] = None,
                 purpose: Optional[str] = None, min_score: float = -1.0) -> List[Candidate]:
        """People most like a template (dimension,), best first. `passes` tells who is above the
        threshold: the one given, or one measured on the gallery so that `fpir` of the searches for
        strangers name somebody (which takes 30 people: NotCalibrated otherwise). Nobody passes:
        unknown."""
        vector = self._vectors(template, embedder, single=True)
        top_k = _checks.whole(top_k, "top_k", 1, 10000)
        if threshold is not None:
            threshold = _checks.number(threshold, "threshold", -1, 1)
        collection, metadata, purpose = (
            _checks.text_or_none(value, name) for name, value in
            (("collection", collection), ("metadata", metadata), ("purpose", purpose)))
        found, _ = _native.gallery_identify(
            self._handle, vector.ctypes.data, vector.shape[1], embedder.id, collection, top_k,
            _checks.number(fpir, "fpir", 0, 1), math.nan if threshold is None else threshold,
            metadata, purpose, _checks.number(min_score, "min_score", -1, 1))
        return [Candidate(id, score, number, bool(passes)) for id, score, number, passes in found]

    def verify(self, id: str, template: Any, embedder: FaceEmbedder,
               collection: Optional[str] = None, purpose: Optional[str] = None) -> float:
        """The best similarity, -1..1, of a template with those of one person. `purpose` goes to the
        audit log; who was enrolled for another is not found. Raises NotFound."""
        vector = self._vectors(template, embedder, single=True)
        return _native.gallery_verify(
            self._handle, _checks.text_or_none(collection, "collection"), _checks.text(id, "id"),
            vector.ctypes.data, vector.shape[1], embedder.id,
            _checks.text_or_none(purpose, "purpose"))

    @staticmethod
    def _vectors(templates: Any, embedder: FaceEmbedder, single: bool = False) -> np.ndarray:
        if not isinstance(embedder, FaceEmbedder):
            raise InvalidArgument(f"embedder: got {_arrays.described(embedder)}, wants the "
                                  "FaceEmbedder that made the templates")
        array = np.asarray(templates)
        array = array[None] if array.ndim == 1 else array
        rows = 1 if single else None
        return _arrays.floats_of(array, (rows, embedder.dimension), "templates")

    # ---- upkeep ----

    def stats(self) -> GalleryStats:
        """How many people and templates there are, what they take, and how they are kept."""
        return GalleryStats(*_native.gallery_stats(self._handle))

    def check(self, progress: Any = None) -> None:
        """Checks all records, keys and the index. Raises FormatError, naming the first that is
        wrong."""
        _native.gallery_check(self._handle, progress)

    def expire(self) -> int:
        """Deletes all people whose time has come; their number."""
        return _native.gallery_expire(self._handle)

    def __repr__(self) -> str:
        return f"<uniface.Gallery {self.name}>"
