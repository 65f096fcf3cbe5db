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

    def values_of(instance):
        return {name: getattr(instance, name) for name in instance.__match_args__}

    def replace(instance, **changes):
        return type(instance)(**{**values_of(instance), **changes})

    def record(cls):
        names = tuple(cls.__annotations__)
        defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
        required = tuple(name for name in names if name not in defaults)
        body = {key: value for key, value in cls.__dict__.items() if key not in defaults}
        for key in ("__dict__", "__weakref__"):
            body.pop(key, None)
        setters = {}

        def __init__(self, *args, **kwargs):
            if len(args) > len(names):
                raise TypeError(f"{cls.__name__}: {len(args)} values for {len(names)} fields")
            for name, value in zip(names, args):
                if name in kwargs:
                    raise TypeError(f"{cls.__name__}: {name} given twice")
                kwargs[name] = value
            for name in required:
                if name not in kwargs:
                    raise TypeError(f"{cls.__name__}: {name} is missing")
            for name, setter in setters.items():
                setter(self, kwargs.pop(name) if name in kwargs else defaults[name])
            if kwargs:
                raise TypeError(f"{cls.__name__}: no field {next(iter(kwargs))}")

        def __setattr__(self, name, _value):
            raise AttributeError(f"{cls.__name__}.{name} is frozen")

        def __delattr__(self, name):
            raise AttributeError(f"{cls.__name__}.{name} is frozen")

        def __eq__(self, other):
            if type(other) is not type(self):
                return NotImplemented
            return all(getattr(self, name) == getattr(other, name) for name in names)

        def __hash__(self):
            return hash(tuple(getattr(self, name) for name in names))

        def __repr__(self):
            fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
            return f"{cls.__name__}({fields})"

        body.update(
            __slots__=names,
            __match_args__=names,
            __init__=__init__,
            __setattr__=__setattr__,
            __delattr__=__delattr__,
            __eq__=__eq__,
            __hash__=__hash__,
            __repr__=__repr__,
        )
        made = type(cls)(cls.__name__, cls.__bases__, body)
        setters.update((name, made.__dict__[name].__set__) for name in names)
        return made
