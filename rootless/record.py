"""`@record`: frozen, slotted, typed value classes for the price of a plain class.

The standard `dataclasses` module costs 15 ms to import and half a millisecond a class, which is more than `ptb enter`
may spend on everything. This decorator is told to type checkers as a dataclass transform (PEP 681) and does at run
time only what they were promised: keyword or positional construction, equality, repr, no assignment afterwards.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True)
    def record(cls: type[T]) -> type[T]: ...

    def values_of(instance: object) -> dict[str, Any]:
        """The fields of a record by name, in order."""

    def replace(instance: T, **changes: Any) -> T:
        """A copy of a record with some fields changed."""

else:
    _set = object.__setattr__

    def values_of(instance):
        return {name: getattr(instance, name) for name in instance.__match_args__}

    def replace(instance, **changes):
        return type(instance)(**{**values_of(instance), **changes})

    def record(cls):
        names = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
        body = {key: value for key, value in cls.__dict__.items() if key not in defaults}
        for key in ("__dict__", "__weakref__"):
            body.pop(key, None)
        body.update(_METHODS, __slots__=names, __match_args__=names, __defaults__=defaults)
        return type(cls)(cls.__name__, cls.__bases__, body)

    def _init(self, *args, **kwargs):
        names = self.__match_args__
        if kwargs or len(args) != len(names):
            args = _completed(type(self), names, args, kwargs)
        for name, value in zip(names, args):
            _set(self, name, value)

    def _completed(cls, names, args, kwargs):
        """All values in order."""
        if len(args) > len(names):
            raise TypeError(f"{cls.__name__}: {len(args)} values for {len(names)} fields")
        for name in names[: len(args)]:
            if name in kwargs:
                raise TypeError(f"{cls.__name__}: {name} given twice")
        values = {**cls.__defaults__, **kwargs}
        try:
            rest = [values.pop(name) for name in names[len(args) :]]
        except KeyError as error:
            raise TypeError(f"{cls.__name__}: {error.args[0]} is missing") from None
        for name in kwargs:
            if name in values:
                raise TypeError(f"{cls.__name__}: no field {name}")
        return (*args, *rest)

    def _refuse(self, name, _value=None):
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def _eq(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def _hash(self):
        return hash(tuple(getattr(self, name) for name in self.__match_args__))

    def _repr(self):
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({fields})"

    _METHODS = {
        "__init__": _init,
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__eq__": _eq,
        "__hash__": _hash,
        "__repr__": _repr,
    }
