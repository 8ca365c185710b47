"""The one door to Numba: the `kernel` decorator and its on-disk cache.

Kernels are plain functions compiled lazily with ``nogil``, NumPy's error model and no fast-math: without
reassociation or contraction that the source does not ask for (`kernels.vectors` asks for fused products and sums), it
gives the same bits on every IEEE-754 machine, which records rely on.

Cache: machine code is kept per user in a folder named after the package version, Python, Numba and the processor, in
files named after the digest of the kernel's source and of all kernel sources it imports. A changed callee in another
file therefore never meets a stale caller, and two machines that share a home directory never exchange code. Each file
is written to a temporary name and renamed, carries the digest of its content, and counts as absent when that does not
match; a file lock keeps processes that start together from compiling the same thing twice, and never stops a process
for longer than `_LOCK_PATIENCE_S`.

Environment: ``ABBE_NUMBA_CACHE=0`` turns the cache off, ``ABBE_CACHE_DIR`` moves it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_LOCK_PATIENCE_S = 120.0
_LOCK_POLL_S = 0.02
_IMPORT = re.compile(r"^(?:from|import)\s+(\w+(?:\.\w+)*\.kernels\.\w+)", re.MULTILINE)


def cache_enabled() -> bool:
    """Whether compiled kernels are kept on disk (``ABBE_NUMBA_CACHE``, default yes)."""
    return os.environ.get("ABBE_NUMBA_CACHE", "1").strip().lower() not in {"0", "off", "no", "false"}


def _user_cache_root() -> Path:
    explicit = os.environ.get("ABBE_CACHE_DIR")
    if explicit:
        return Path(explicit)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
        return Path(base) / "abbe" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "abbe"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "abbe"


def _usable(folder: Path) -> bool:
    """Create the folder and tell whether this user may write there and nobody else could have planted code in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if hasattr(os, "getuid"):
            status = folder.stat()
            return status.st_uid == os.getuid() and not status.st_mode & stat.S_IWOTH
        return True
    except OSError:
        return False


@functools.cache
def _imported_kernels(path: Path) -> tuple[Path, ...]:
    """Source files of the kernel modules that a kernel module imports by name."""
    found = []
    for name in _IMPORT.findall(path.read_text(encoding="utf-8")):
        for root in (path.parents[2], Path(__file__).parents[1]):  # its own package, then ours
            source = root.joinpath(*name.split(".")).with_suffix(".py")
            if source.is_file():
                found.append(source)
                break
    return tuple(found)


@functools.cache
def _source_digest(path: Path) -> str:
    """Digest of every source whose code a kernel of this file can hold: the file, what it imports of kernels, this
    file."""
    waiting, seen = [path], {path, Path(__file__)}
    while waiting:
        for other in _imported_kernels(waiting.pop()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    digest = hashlib.sha256()
    for source in sorted(seen, key=lambda p: (p.parent.parent.name, p.parent.name, p.name)):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@functools.cache
def _machine_digest() -> str:
    import llvmlite
    import numba
    import numpy
    from llvmlite import binding
    from numba.core import config

    name = config.CPU_NAME or binding.get_host_cpu_name()
    features = config.CPU_FEATURES
    if features is None:
        features = "" if config.CPU_NAME else binding.get_host_cpu_features().flatten()
    switches = f"{config.BOUNDSCHECK}{config.OPT}{config.DEBUGINFO_DEFAULT}"
    text = f"{sys.version}|{numba.__version__}|{llvmlite.__version__}|{numpy.__version__}|{name}|{features}|{switches}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def cache_folder() -> Path | None:
    """Folder that holds the compiled kernels of this version on this processor, or None where no safe place is
    writable."""
    from metrology_core._version import __version__

    leaf = f"kernels-{__version__}-{_machine_digest()}"
    roots = [_user_cache_root()]
    if not os.environ.get("ABBE_CACHE_DIR") and hasattr(os, "getuid"):
        roots.append(Path(tempfile.gettempdir()) / f"abbe-cache-{os.getuid()}")
    for root in roots:
        if _usable(root / leaf):
            return root / leaf
    return None


class _FolderLock:
    """An advisory lock between processes, re-entrant inside one (Numba's compiler lock serialises its threads)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._depth = 0
        self._file: Any = None

    def acquire(self) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        with contextlib.suppress(OSError):
            self._file = open(self._path, "a+b")  # noqa: SIM115 - held until release
            deadline = time.monotonic() + _LOCK_PATIENCE_S
            while not _try_lock(self._file) and time.monotonic() < deadline:
                time.sleep(_LOCK_POLL_S)

    def release(self) -> None:
        self._depth = max(0, self._depth - 1)
        if self._depth == 0 and self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()  # closing drops the lock
            self._file = None


def _try_lock(file: Any) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@functools.cache
def _cache_class() -> type:
    """Build the cache class on first use, so that importing this module costs no Numba."""
    from numba.core.caching import CompileResultCacheImpl as Impl
    from numba.core.caching import FunctionCache, _CacheLocator

    class Locator(_CacheLocator):  # type: ignore[misc]
        def __init__(self, folder: str, lineno: int, py_file: str) -> None:
            self._folder, self._lineno, self._py_file = folder, lineno, py_file
            self._digest = _source_digest(Path(py_file))

        def get_cache_path(self) -> str:
            return self._folder

        def get_source_stamp(self) -> str:
            return self._digest

        def get_disambiguator(self) -> str:
            return f"{self._lineno}.{self._digest}"

        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            folder = cache_folder()
            return None if folder is None else cls(str(folder), py_func.__code__.co_firstlineno, py_file)

    class AbbeImpl(Impl):  # type: ignore[misc]
        _locator_classes = (Locator,)

    class CheckedFiles:
        """One file per kernel and signature: sha256 of the payload, then the pickled (key, code)."""

        def __init__(self, folder: str, base: str) -> None:
            self._folder, self._base = Path(folder), base

        def _path(self, key: Any) -> Path:
            return self._folder / f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:12]}.abbe"

        def flush(self) -> None:
            for path in self._folder.glob(f"{self._base}.*.abbe"):
                path.unlink(missing_ok=True)

        def load(self, key: Any) -> Any:
            import pickle

            try:
                content = self._path(key).read_bytes()
            except OSError:
                return None
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                return None  # torn or foreign: compile again and replace it
            stored, data = pickle.loads(content[32:])
            return data if stored == repr(key) else None

        def save(self, key: Any, data: Any) -> None:
            from numba.core.serialize import dumps

            payload = dumps((repr(key), data))
            path = self._path(key)
            with contextlib.suppress(OSError):  # a full disk or a folder that vanished costs time, never a result
                handle, name = tempfile.mkstemp(dir=self._folder, prefix=".tmp-")
                try:
                    with os.fdopen(handle, "wb") as file:
                        file.write(hashlib.sha256(payload).digest() + payload)
                    os.replace(name, path)
                except OSError:
                    os.unlink(name)

    class KernelCache(FunctionCache):  # type: ignore[misc]
        _impl_class = AbbeImpl

        def __init__(self, py_func: Any) -> None:
            super().__init__(py_func)
            self._cache_file = CheckedFiles(self._cache_path, self._impl.filename_base)
            self._lock = _lock_of(self._cache_path)
            self._held = 0

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            found = super().load_overload(sig, target_context)
            if found is None and self._enabled:
                self._lock.acquire()
                self._held += 1
                found = super().load_overload(sig, target_context)  # another process may just have finished it
                if found is not None:
                    self._let_go()
            return found

        def save_overload(self, sig: Any, data: Any) -> None:
            try:
                super().save_overload(sig, data)
            finally:
                self._let_go()

        def _let_go(self) -> None:
            if self._held:
                self._held -= 1
                self._lock.release()

    return KernelCache


@functools.cache
def _lock_of(folder: str) -> _FolderLock:
    return _FolderLock(Path(folder) / "lock")


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` lazily with the house's options and cache (one signature each: C-contiguous float64).

    For kernels that Python calls; those called by kernels only are `inner`.
    """
    compiled = _compile_lazily(function, no_cfunc_wrapper=True)
    if cache_enabled() and hasattr(compiled, "_cache") and cache_folder() is not None:
        compiled._cache = _cache_class()(function)
    return compiled


def inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like `kernel`, for functions that only kernels call: no Python entry is compiled, and their callers' cache
    holds them."""
    return _compile_lazily(function, no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_linked_compiler())


@functools.cache
def _linked_compiler() -> Any:
    """The compiler of `inner` functions, or None for Numba's own.

    Numba optimises every function and makes machine code of it before it links it into its callers, which are optimised
    as a whole again. For functions that only kernels call the first time is wasted: a quarter of a first compilation.
    """
    import numba

    if numba.config.DISABLE_JIT:
        return None
    try:
        from numba._dynfunc import make_function
        from numba.core.compiler import CompilerBase, DefaultPassBuilder
        from numba.core.compiler_machinery import register_pass
        from numba.core.typed_passes import NativeLowering

        define = DefaultPassBuilder.define_nopython_pipeline
    except (ImportError, AttributeError):  # another Numba: the time is spent, the code is the same
        return None

    @register_pass(mutates_CFG=True, analysis_only=False)
    class LinkedLowering(NativeLowering):  # type: ignore[misc]
        _name = "abbe_linked_lowering"

        def run_pass(self, state: Any) -> bool:
            if state.library is None:
                state.library = state.targetctx.codegen().create_library(state.func_id.func_qualname)
                state.library.enable_object_caching()
            library = state.library
            if not all(hasattr(library, name) for name in ("_optimize_final_module", "_finalize_final_module")):
                return bool(super().run_pass(state))

            def finished() -> None:
                library._finalize_dynamic_globals()
                library._finalized = True

            library._optimize_final_module = lambda: None
            library._finalize_final_module = finished
            state.flags.no_compile = True
            changed = super().run_pass(state)
            lowered = state["cr"]
            words = (lowered.fndesc.lookup_module(), state.func_id.func_name, "called by kernels only")
            key = make_function(*words, 0, lowered.env, (library,))  # what kernels know this signature by
            state.targetctx.insert_user_function(key, lowered.fndesc, [library])
            state["cr"] = lowered._replace(cfunc=key)
            return bool(changed)

    class LinkedCompiler(CompilerBase):  # type: ignore[misc]
        def define_pipelines(self) -> list[Any]:
            plan = define(self.state)
            plan.passes = [
                (LinkedLowering, text) if kind is NativeLowering else (kind, text) for kind, text in plan.passes
            ]
            plan.finalize()
            return [plan]

    return LinkedCompiler


def _compile_lazily(function: Callable[..., Any], pipeline_class: Any = None, **options: bool) -> Any:
    import numba

    if numba.config.DISABLE_JIT:
        return function
    compiled = numba.njit(nogil=True, error_model="numpy", fastmath=False, pipeline_class=pipeline_class, **options)(
        function
    )
    typed = compiled.get_call_template

    def without_literals(args: Any, kws: Any) -> Any:
        """A constant argument inside a kernel must not give its callee one more signature to compile."""
        plain = numba.types.unliteral
        return typed(tuple(plain(a) for a in args), {k: plain(v) for k, v in kws.items()})

    compiled.get_call_template = without_literals
    return compiled


def compiler_parts() -> SimpleNamespace | None:
    """What a kernel module needs to write vector instructions itself (ir, cgutils, types, intrinsic), or None where
    kernels run as plain Python (``NUMBA_DISABLE_JIT``)."""
    import numba
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    if numba.config.DISABLE_JIT:
        return None
    return SimpleNamespace(ir=ir, cgutils=cgutils, types=types, intrinsic=intrinsic)


@contextlib.contextmanager
def compile_report() -> Iterator[list[str]]:
    """Collect the names of kernels compiled (not loaded from the cache) inside the block: commands tell the user."""
    from numba.core import event

    names: list[str] = []

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, ev: Any) -> None:
            names.append(str(getattr(ev.data.get("dispatcher"), "__name__", "kernel")))

        def on_end(self, ev: Any) -> None:
            return None

    listener = Listener()
    event.register("numba:compile", listener)
    try:
        yield names
    finally:
        event.unregister("numba:compile", listener)


def warm_up() -> None:
    """Compile, or load from the cache, every kernel that `fit` uses (drivers call it once before they start
    workers)."""
    from metrology_core.fitting.warm import warm_up_kernels

    warm_up_kernels()
