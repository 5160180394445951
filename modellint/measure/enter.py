"""Enters a sandbox and becomes the command: `enter.py PLAN COMMAND...`, in a process of its own; without one it only tries.

The plan is {"layers": {path: store}, "open": [path]}: each path, a folder, gets an overlay whose writes land in its store;
what is open stays as it is. Where an overlay cannot be had the path is read-only; that of the current folder must.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

# <linux/sched.h> and <linux/mount.h>
NEW_USERS, NEW_MOUNTS = 0x10000000, 0x20000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE, RELATIVE_TIMES = 1, 1 << 5, 1 << 12, 1 << 14, 1 << 18, 1 << 21
KEPT = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME  # have the same values in both
_C = ctypes.CDLL(None, use_errno=True)


def main(plan: str, *command: str) -> None:
    with open(plan, encoding="utf-8") as file:
        wanted = json.load(file)
    here = os.getcwd()
    try:
        _leave_the_namespaces()
        _mount(None, "/", PRIVATE | RECURSIVE)
        was = {path: os.open(path, os.O_PATH) for path in (*wanted["layers"], *wanted["open"]) if os.path.exists(path)}
        own = max((path for path in wanted["layers"] if f"{here}/".startswith(f"{path}/")), key=len, default="")
        for path, store in wanted["layers"].items():
            if path in was:
                _cover(path, f"/proc/self/fd/{was[path]}", store, path == own)
        for path in wanted["open"]:
            _mount(f"/proc/self/fd/{was[path]}", path, BIND | RECURSIVE)
        os.chdir(here)  # below the overlay that covers it
    except OSError as error:
        sys.exit(f"{error.filename}: {error.strerror}")
    for number in was.values():
        os.close(number)
    if command:
        os.execvp(command[0], command)


def _leave_the_namespaces() -> None:
    """A superuser needs no user namespace, within which the files of others would have no owner."""
    user, group = os.geteuid(), os.getegid()
    if _C.unshare(NEW_MOUNTS) == 0:
        return
    _check(_C.unshare(NEW_USERS | NEW_MOUNTS), "user namespaces")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _cover(path: str, lower: str, store: str, needed: bool) -> None:
    layers = f"lowerdir={lower},upperdir={store}/upper,workdir={store}/work,userxattr"
    try:
        _mount("overlay", path, 0, layers)
    except OSError:
        if needed:
            raise
        _mount(lower, path, BIND | RECURSIVE)
        flags = os.statvfs(path).f_flag
        _mount(None, path, REMOUNT | BIND | READ_ONLY | (flags & KEPT) | (RELATIVE_TIMES if flags & 4096 else 0))


def _mount(source: str | None, target: str, flags: int, data: str = "") -> None:
    kind = b"overlay" if source == "overlay" else None
    given = None if source is None else source.encode()
    _check(_C.mount(given, os.fsencode(target), kind, ctypes.c_ulong(flags), data.encode()), target)


def _check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), what)


if __name__ == "__main__":
    main(*sys.argv[1:])
