"""Keeps a probe from destroying files that existed before it: it stops at that line. Notes what the run creates."""

from __future__ import annotations

import os
import sys

from . import ending, frames, imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Set

    from .write import Journal

CREATED = "created.txt"
_CACHES = (
    "XDG_CACHE_HOME",
    "HF_HOME",
    "TORCH_HOME",
    "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "MPLCONFIGDIR",
    "WANDB_CACHE_DIR",
)
_HIDDEN = ("~/.cache", "~/.config", "~/.triton", "~/.nv", "~/.keras")
_REBUILT = tuple(os.sep + name + os.sep for name in ("__pycache__", "site-packages", "dist-packages"))


class Guard:
    """Listens to the interpreter's audit events, and to the few torch functions that write without raising one."""

    def __init__(self, journal: Journal, may_overwrite: bool = False) -> None:
        self._journal, self._may_overwrite = journal, may_overwrite
        self._created: Set[str] = set()
        self._busy = False
        caches = [os.environ[name] for name in _CACHES if name in os.environ] + list(_HIDDEN)
        self._caches = tuple(_real(os.path.expanduser(path)) + os.sep for path in caches)
        shared = (sys.prefix, sys.base_prefix, os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev", "/proc")
        self._shared = tuple(_real(path) + os.sep for path in shared)
        self._events: Dict[str, Callable[..., Any]] = {
            "open": self._opened,
            "os.remove": self._removed,
            "os.rmdir": self._removed,
            "shutil.rmtree": self._removed,
            "os.rename": self._renamed,
            "os.truncate": lambda path, length: self._destroys("truncating", path),
            "os.mkdir": lambda path, *rest: self._creates(path),
            "os.symlink": lambda source, path, *rest: self._creates(path),
            "os.link": lambda source, path, *rest: self._creates(path),
        }

    @property
    def _list(self) -> str:
        return os.path.join(self._journal.folder, CREATED)

    def install(self) -> None:
        sys.addaudithook(self._hear)
        imports.after("torch", self._wrap_torch)
        imports.after("safetensors", lambda: self._wrap("safetensors", "serialize_file", 1))

    def _hear(self, event: str, args: Any) -> None:
        act = self._events.get(event)
        if act is None or self._busy:
            return
        self._busy = True  # what we open ourselves is no event
        try:
            act(*args)
        except Exception:  # an odd path is no reason to fail the user's call
            return
        finally:
            self._busy = False

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if not isinstance(flags, int) or not flags & (os.O_CREAT | os.O_TRUNC) or os.path.isdir(path):
            return  # a directory is opened so for a temporary file without a name
        if flags & os.O_TRUNC:
            self._destroys("overwriting", path)
        self._creates(path)

    def _removed(self, path: Any, directory: Any = -1) -> None:
        if directory in (-1, None):  # relative to an open directory: within an rmtree that was heard itself
            self._destroys("deleting", _entry(path))

    def _renamed(self, source: Any, path: Any, *directories: Any) -> None:
        self._destroys("moving", _entry(source))
        self._destroys("overwriting", _entry(path))
        self._creates(path)

    def _destroys(self, action: str, path: Any) -> None:
        if self._may_overwrite or not isinstance(path, (str, bytes, os.PathLike)):
            return
        real = path if isinstance(path, _Entry) else _real(path)
        if os.path.lexists(real) and not self._is_free(real) and not self._is_new(real):
            where = frames.place(sys._getframe(1))
            ending.flush_all()
            self._journal({"kind": "stopped", "action": action, "path": frames.shown(real), "location": where})
            ending.end(together=False)

    def _creates(self, path: Any) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        real = _real(path)
        if not os.path.lexists(real) and real not in self._created and not self._is_free(real):
            self._created.add(real)
            with open(self._list, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(real + "\n")

    def _is_new(self, path: str) -> bool:
        """Whether a process of this run has created `path`, or a former probe did and nobody has touched it since."""
        if path not in self._created and os.path.exists(self._list):
            with open(self._list, encoding="utf-8", errors="surrogateescape") as file:
                self._created.update(file.read().splitlines())
        return path in self._created

    def _is_free(self, path: str) -> bool:
        """Caches and temporary files; but a project that lies below the temporary directory is a project."""
        own = _real(self._journal.folder) + os.sep
        if path.startswith((own, *self._caches)) or path.endswith(".pyc") or any(part in path for part in _REBUILT):
            return True
        return path.startswith(self._shared) and not path.startswith(_real(frames.START) + os.sep)

    def _wrap_torch(self) -> None:
        self._wrap("torch", "save", 1)
        self._wrap("torch.jit", "save", 1)

    def _wrap(self, module: str, name: str, position: int) -> None:
        """These open their file in C++ or Rust, unheard."""
        import functools

        home = sys.modules[module]
        write: Callable[..., Any] = getattr(home, name)

        @functools.wraps(write)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            given = args[position] if len(args) > position else kwargs.get("f", kwargs.get("filename"))
            self._hear("open", (given, "wb", os.O_CREAT | os.O_TRUNC))
            return write(*args, **kwargs)

        setattr(home, name, wrapper)


class _Entry(str):
    """A directory entry by its own name: deleting a link leaves what it points to."""


def _entry(path: Any) -> _Entry:
    folder, name = os.path.split(os.path.abspath(os.fsdecode(path)))
    return _Entry(os.path.join(os.path.realpath(folder), name))


def _real(path: Any) -> str:
    return os.path.realpath(os.fsdecode(path))
