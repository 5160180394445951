"""What a value is: names followed through assignments, parameters, attributes, imports and returns to where it is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from .code import Class, Function, Value
from .project import Project
from .scope import Callee, Frame, Source, reaching
from .script import Script
from .vocabulary import PASSES_FIRST, PASSES_RECEIVER, PASSES_TUPLE

DEEPEST = 40  # values followed one through another
LONGEST = 3000  # values looked at for one question


Key = tuple[object, Frame, int | None]


class Resolver:
    def __init__(self, project: Project) -> None:
        self.project = project
        self._bindings: dict[int, dict[str, list[int]]] = {}
        self._work = 0
        self._active: dict[Key, int] = {}
        self._known: dict[Key, list[Source]] = {}
        self._reopened = DEEPEST  # the outermost value that came back to itself
        self._frames: dict[int, Frame] = {}
        self._callers: dict[str, list[tuple[Script, Function, int]]] | None = None

    def frame(self, script: Script, function: Function) -> Frame:
        """A function whose caller is not known."""
        known = self._frames.get(id(function))
        if known is None:
            above = self.project.function(script, function.parent or "") if function.kind != "module" else None
            path = f"{script.path}:{function.name}" if function.name else ""
            known = Frame(script, function, outer=self.frame(script, above) if above else None, path=path)
            self._frames[id(function)] = known
        return known

    def module(self, script: Script) -> Frame:
        return self.frame(script, script.functions[0])

    def sources(self, value: Value, frame: Frame, at: int | None = None) -> list[Source]:
        """Where the value is made: calls of constructors or of functions that cannot be read, constants, names not bound."""
        key = (value.name if value.kind == "name" else value, frame, at)
        known = self._known.get(key)
        if known is not None:
            return known
        if key in self._active:
            self._reopened = min(self._reopened, self._active[key])
        self._work = self._work + 1 if self._active else 0
        if key in self._active or len(self._active) > DEEPEST or self._work > LONGEST:
            return [Source(value, frame, at)]
        depth = self._active[key] = len(self._active)
        try:
            found = list({(id(s.value), s.frame): s for s in self._follow(Source(value, frame, at))}.values())
        finally:
            del self._active[key]
        if self._reopened >= depth:  # else the answer is that of a value within a circle, seen from inside it
            self._reopened = DEEPEST
            self._known[key] = found
        return found

    def of(self, source: Source) -> list[Source]:
        return self.sources(source.value, source.frame, source.at)

    def _follow(self, source: Source) -> Iterator[Source]:
        value, frame, at = source.value, source.frame, source.at
        if value.kind == "name":
            yield from self._name(value, frame, at)
        elif value.kind == "call":
            yield from self._call(source)
        elif value.kind == "attribute" and value.base is not None:
            for base in self.sources(value.base, frame, at):
                yield from self._attribute(base, value.name) or [source]
        elif value.kind in ("item", "element") and value.base is not None:
            yield from self._items(source)
        elif value.kind == "choice":
            for option in value.arguments:
                yield from self.sources(option, frame, at)
        elif value.kind in ("context", "starred") and value.base is not None:
            yield from self.sources(value.base, frame, at)
        else:
            yield source

    def _name(self, value: Value, frame: Frame, at: int | None) -> Iterator[Source]:
        found = self.bound(value.name, frame, at)
        if not found and "." in value.name.lstrip("."):
            head, _, attribute = value.name.rpartition(".")
            bases = self.sources(replace(value, name=head), frame, at)
            found = [part for base in bases if base.value.name != head for part in self._attribute(base, attribute)]
            found = found or self._instance(value, frame)
        yield from found or [Source(value, frame, at)]

    def bound(self, name: str, frame: Frame, at: int | None = None) -> list[Source]:
        """What a dotted name is bound to as a whole: in the function, around it, in the module, in another file."""
        scope: Frame | None = frame
        while scope is not None:
            found = [
                s
                for index in reaching(scope.function, self._table(scope.function).get(name, []), at)
                for s in self._assigned(index, scope)
            ]
            if found:
                return found
            if name in scope.arguments:
                return self.of(scope.arguments[name])
            if any(p.name == name for p in scope.function.parameters):
                return list(self._parameter(name, scope))
            scope, at = scope.outer, None
        return self._imported(name, frame.script)

    def _assigned(self, index: int, frame: Frame) -> list[Source]:
        value = frame.function.events[index].value
        return self.sources(value, frame, index) if value is not None else []

    def _table(self, function: Function) -> dict[str, list[int]]:
        table = self._bindings.get(id(function))
        if table is None:
            table = defaultdict(list)
            for index, event in enumerate(function.events):
                if event.kind in ("assign", "augment"):
                    table[event.name].append(index)
            self._bindings[id(function)] = table
        return table

    def _parameter(self, name: str, frame: Frame) -> Iterator[Source]:
        """What the callers of the function pass, as far as they are known; else the default, else nothing."""
        if name == "self":
            return
        given = [s for caller in self.callers(frame) for s in self._passed(name, caller)]
        yield from given[:DEEPEST]

    def _passed(self, name: str, frame: Frame) -> list[Source]:
        return self.of(frame.arguments[name]) if name in frame.arguments else []

    def _imported(self, name: str, script: Script) -> list[Source]:
        if script.imported(name):
            located = self.project.locate(script, name)
        else:
            stars = (module for key, module in script.imports.items() if key.startswith("*"))
            located = next(filter(None, (self.project.locate(script, f"{star}.{name}") for star in stars)), None)
        if located is None:
            return []
        other, rest = located
        found = self.sources(Value("name", rest), self.module(other))
        return [s for s in found if s.value.name != rest]

    def _instance(self, value: Value, frame: Frame) -> list[Source]:
        """`self.x` where `self` is an object of the class that the method belongs to."""
        head, _, attribute = value.name.partition(".")
        owner = self._owner(frame)
        if head != "self" or owner is None or "." in attribute:
            return []
        receiver = self._receiver(frame)
        return list(
            self._member(
                owner.script, self.project.class_(owner.script, owner.function.owner or ""), attribute, receiver
            )
        )

    def _owner(self, frame: Frame) -> Frame | None:
        scope: Frame | None = frame
        while scope is not None and scope.function.owner is None:
            scope = scope.outer
        return scope

    def _receiver(self, frame: Frame) -> Source | None:
        owner = self._owner(frame)
        return owner.receiver if owner else None

    def _attribute(self, base: Source, name: str) -> list[Source]:
        value = base.value
        if value.kind == "call":
            found = [
                member
                for callee in self.callees(value, base.frame, base.at)
                if callee.class_ is not None and callee.script is not None
                for member in self._member(callee.script, callee.class_, name, base)
            ]
        elif value.kind == "class":
            found = list(
                self._member(base.frame.script, self.project.class_(base.frame.script, value.name), name, None)
            )
        elif value.kind == "name" and value.name == "self":
            found = self._instance(Value("name", f"self.{name}"), base.frame)
        else:
            found = []
        return found

    def _call(self, source: Source) -> Iterator[Source]:
        """What a call returns: a project's function is followed, what only prepares its argument is seen through."""
        call, frame, at = source.value, source.frame, source.at
        for callee in self.callees(call, frame, at):
            entered = self.enter(callee, source)
            if entered is not None:
                yield from self._returned(entered) or [source]
            elif callee.class_ is not None:
                yield source
            elif (
                call.method in PASSES_RECEIVER
                and call.receiver is not None
                and not call.receiver.name.startswith("torch")
            ):
                yield from self.sources(call.receiver, frame, at)
            elif call.method in PASSES_FIRST and call.arguments:
                yield from self.sources(call.arguments[0], frame, at)
            elif call.method in PASSES_TUPLE and len(call.arguments) == 1:
                yield from self.sources(call.arguments[0], frame, at)
            else:
                yield source

    def _returned(self, frame: Frame) -> list[Source]:
        returns = [
            (i, e.value) for i, e in enumerate(frame.function.events) if e.kind == "return" and e.value is not None
        ]
        return [s for index, value in returns for s in self.sources(value, frame, index)]

    def _items(self, source: Source) -> Iterator[Source]:
        """One item of a tuple, list or dict where the index is known, else each of them."""
        value = source.value
        assert value.base is not None
        index = value.arguments[0].constant if value.kind == "item" and value.arguments[0].kind == "constant" else None
        if value.base.kind == "name" and value.kind == "item":
            stored = self.bound(f"{value.base.name}[{'' if index is None else index}]", source.frame, source.at)
            if stored:
                yield from stored
                return
        for base in self.sources(value.base, source.frame, source.at):
            items = list(_parts(base.value, index))
            yield from (s for item in items for s in self.sources(item, base.frame, base.at))
            if not items:
                yield source

    def _member(self, script: Script, class_: Class | None, name: str, receiver: Source | None) -> Iterator[Source]:
        """The values that an attribute of a class has, from its own methods, else from those of its bases."""
        if class_ is None:
            return
        places = [a for a in class_.attributes if a.name == name]
        for place in places:
            frame = self.method(script, script.functions[place.function], receiver)
            yield from self._assigned(place.event, frame)
        if not places:
            for base_script, base in self.bases(script, class_):
                yield from self._member(base_script, base, name, receiver)

    def method(self, script: Script, function: Function, receiver: Source | None) -> Frame:
        """The frame of a method of an object; what __init__ was given is known where the object is made."""
        frame = replace(self.frame(script, function), receiver=receiver)
        if receiver is None or receiver.value.kind != "call" or not function.name.endswith("__init__"):
            return frame
        return replace(frame, arguments=self.arguments(function, receiver, self.module(script), 1), path=receiver.place)

    def bases(self, script: Script, class_: Class) -> Iterator[tuple[Script, Class]]:
        for base in class_.bases:
            for source in self.sources(base, self.module(script)):
                found = (
                    self.project.class_(source.frame.script, source.value.name)
                    if source.value.kind == "class"
                    else None
                )
                if found is not None and found is not class_:
                    yield source.frame.script, found

    def ancestry(self, script: Script, class_: Class) -> Iterator[str]:
        """The full names of the library classes that a class derives from."""
        for base in class_.bases:
            if base.kind == "name":
                yield base.name
        for other, parent in self.bases(script, class_):
            yield from self.ancestry(other, parent)

    def callees(self, call: Value, frame: Frame, at: int | None = None) -> list[Callee]:
        """What a call may call; a library's function or an unknown one by its name alone."""
        if call.base is None:
            targets = self.sources(Value("name", call.name, location=call.location), frame, at)
        elif call.name:
            receivers = self.sources(call.base, frame, at)
            targets = [s for base in receivers for s in self._attribute(base, call.name)] or [
                Source(Value("attribute", call.name, base=call.base), frame)
            ]
        else:
            targets = self.sources(call.base, frame, at)
        return [self._callee(target, call, frame, at) for target in targets]

    def _callee(self, target: Source, call: Value, frame: Frame, at: int | None) -> Callee:
        value, script = target.value, target.frame.script
        if value.kind == "function":
            function = self.project.function(script, value.name)
            if function is not None:
                receiver = self._called_on(call, frame, at) if function.owner else None
                return Callee(value.name, script, function, receiver=receiver, outer=target.frame)
        if value.kind == "class":
            return Callee(value.name, script, class_=self.project.class_(script, value.name))
        if value.kind == "call" and value.method == "partial" and value.arguments:
            return self._callee(self.sources(value.arguments[0], target.frame, target.at)[0], call, frame, at)
        if value.kind == "call" and value.name == "getattr" and value.arguments and value.arguments[0].kind == "name":
            return Callee(f"{value.arguments[0].name}.*")
        return Callee(value.name if value.kind in ("name", "attribute") else "")

    def _called_on(self, call: Value, frame: Frame, at: int | None) -> Source | None:
        if call.receiver is None:
            return None
        if call.receiver.name == "self":
            return self._receiver(frame)
        return next(iter(self.sources(call.receiver, frame, at)), None)

    def enter(self, callee: Callee, call: Source) -> Frame | None:
        """The frame in which the project's function runs when called so."""
        if callee.function is None or callee.script is None:
            return None
        bound = callee.function.owner is not None and not any(
            d.name == "staticmethod" for d in callee.function.decorators
        )
        arguments = self.arguments(callee.function, call, self.module(callee.script), int(bound))
        outer = callee.outer or self.module(callee.script)
        return Frame(callee.script, callee.function, arguments, callee.receiver, outer, call.place)

    def arguments(self, function: Function, call: Source, module: Frame, skip: int) -> dict[str, Source]:
        """The parameters that a call gives a value, or a default does."""
        given: dict[str, Source] = {}
        for position, parameter in enumerate(function.parameters[skip:]):
            value = call.value.argument(position, parameter.name)
            if value is not None:
                given[parameter.name] = Source(value, call.frame, call.at)
            elif parameter.default is not None and not call.value.unpacks:
                given[parameter.name] = Source(parameter.default, module)
        return given

    def callers(self, frame: Frame) -> Iterator[Frame]:
        """Frames of the function (for __init__: of its class) for each call of it in the scripts loaded by now."""
        function = frame.function
        made = function.name.rpartition(".")[2] == "__init__"
        name = (function.owner or "").rpartition(".")[2] if made else function.name.rpartition(".")[2]
        for script, caller, index in self._calls_of(name):
            call = caller.events[index].value
            if call is None or caller is function:
                continue
            place = Source(call, self.frame(script, caller), index)
            for callee in self.callees(call, place.frame, index):
                if made and callee.class_ is not None and callee.class_.name == function.owner:
                    yield self.method(frame.script, function, place)
                elif callee.function is function and (entered := self.enter(callee, place)) is not None:
                    yield entered

    def _calls_of(self, name: str) -> list[tuple[Script, Function, int]]:
        if self._callers is None:
            self._callers = defaultdict(list)
            for script in self.project.scripts:
                for function in script.functions:
                    for index, event in enumerate(function.events):
                        if event.kind == "call" and event.value is not None:
                            self._callers[event.value.method].append((script, function, index))
        return self._callers.get(name, [])


def _parts(value: Value, index: object) -> Iterator[Value]:
    """The items that a collection is written with; of `zip` and `enumerate` what one pass of a loop gets."""
    if value.kind == "call" and value.name == "zip":
        yield Value("tuple", arguments=tuple(Value("element", base=a) for a in value.arguments))
    elif value.kind == "call" and value.name == "enumerate" and value.arguments:
        yield Value("tuple", arguments=(Value("unknown"), Value("element", base=value.arguments[0])))
    elif value.kind in ("tuple", "list", "set") or (value.kind == "call" and value.method in PASSES_TUPLE):
        if isinstance(index, int) and -len(value.arguments) <= index < len(value.arguments):
            yield value.arguments[index]
        elif index is None:
            yield from value.arguments
    elif value.kind == "dict":
        yield from (item for key, item in value.keywords if index is None or key == index)
    elif value.kind == "comprehension":
        yield from value.arguments
