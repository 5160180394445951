"""Loads modellint's recorder by path, to begin with the user's `import torch`; then the sitecustomize it shadows."""

import os
import sys
from _frozen_importlib import module_from_spec
from _frozen_importlib_external import PathFinder, spec_from_file_location

_HERE = os.path.dirname(os.path.abspath(__file__))


def _load_recorder():
    """The package recorder/ as `modellint_recorder`: this works where modellint is not installed."""
    folder = os.environ["MODELLINT_RECORDER"]
    path = os.path.join(folder, "__init__.py")
    spec = spec_from_file_location("modellint_recorder", path, submodule_search_locations=[folder])
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


def _load_shadowed():
    elsewhere = [path for path in sys.path if os.path.abspath(path or os.curdir) != _HERE]
    spec = PathFinder.find_spec("sitecustomize", elsewhere)
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


if "MODELLINT_FOLDER" in os.environ:
    try:
        _load_recorder()
        from modellint_recorder import process

        process.begin()
    except Exception as error:  # a probe must never be the reason that a process cannot start
        sys.stderr.write("modellint: the recorder could not be loaded: %r\n" % error)
_load_shadowed()
if "modellint_recorder.imports" in sys.modules:
    sys.modules["modellint_recorder.imports"].come_first()
