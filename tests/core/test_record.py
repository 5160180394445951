"""What is promised besides speed: our dataclasses are those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from modellint.core.record import dataclass, field


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)

    @property
    def sum(self) -> int:
        return self.x + self.y


@dataclass(frozen=True, slots=True)
class Place(Point):
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    x: int = 1


def test_fields_defaults_and_what_is_derived() -> None:
    assert (Point(1).x, Point(1).y, Point(1).names, Point(1, y=5).sum) == (1, 2, [], 6)
    assert Point(1).names is not Point(1).names
    assert [f.name for f in dataclasses.fields(Place)] == ["x", "y", "names", "name"]
    assert Place(1, name="a").sum == 3
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]


def test_values_decide_unless_identity_does() -> None:
    assert Point(1) == Point(1) != Point(2)
    assert Point(1) != Place(1)
    assert hash(dataclasses.replace(Place(1), names=())) == hash(dataclasses.replace(Place(1), names=()))  # type: ignore[arg-type]
    assert Thing() != Thing()
    assert len({Thing(), Thing()}) == 2


def test_copies_pickles_and_shows_itself() -> None:
    place = Place(1, 3, ["a"], "here")
    assert dataclasses.is_dataclass(place)
    assert dataclasses.replace(place, x=2) == Place(2, 3, ["a"], "here")
    assert pickle.loads(pickle.dumps(place)) == copy.deepcopy(place) == place
    assert repr(place) == "Place(x=1, y=3, names=['a'], name='here')"
    match place:
        case Place(x, y):
            assert (x, y) == (1, 3)


def test_nothing_but_the_fields_can_be_set() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 1  # type: ignore[attr-defined]
