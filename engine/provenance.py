"""The code version of what is made: a hash of the definitions that a function can reach, read from their syntax trees.

A partition is made again when something changed that can change its rows, and for no other reason. Therefore

* only definitions count that the function reaches by name through the engine's modules: other functions, classes, constants;
  methods and properties where a reached class has them and reached code asks for an attribute of that name;
* names of definitions, files and local variables do not count, nor docstrings, comments, annotations, asserts and the words of an error;
* a registry (a module's variable that a decorator such as ``@level`` fills) counts entry by entry, by its key, without the words that
  describe an entry, so that a new entry changes nothing for who does not ask for it;
* plumbing (`PLUMBING`) moves rows and does not make them; fields of parameter models are left out, since their values are hashed.

A definition is encoded as its tree with each reference to another definition replaced by that one's number in the order of being reached
(as content-addressed code is in Unison), so that a definition that moves to another file, or is renamed, keeps its hash.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from engine.errors import UnknownDataset

ROOT = "engine"
PACKAGE = Path(__file__).resolve().parent
EARLIER = PACKAGE / "earlier_code.json"

OWN_SOURCE = Path(__file__).read_text(encoding="utf-8")
"""This module as it runs: what an earlier one finds, in a process that goes on while the sources change, is not kept."""

EPOCH = 1
"""Raised by hand when a new version of numba, numpy or polars makes other rows from the same code: then everything is made again."""

PLUMBING = ("engine.errors", "engine.lake", "engine.stages.base", "engine.provenance")
"""Modules that move rows and do not make them, and what they raise."""

WORDS = frozenset(("title", "meaning", "formula", "unit", "range", "description"))
"""Arguments of a registration that describe the entry; where a contract has them, its fingerprint counts."""

_FILL = frozenset(("append", "add", "update", "setdefault", "insert", "extend"))
_MODELS = ("pydantic.BaseModel",)
_MARK = re.compile("\0([0-9]+)\0")

Selection = Mapping[str, Collection[str] | None]
"""Argument of a registration (``LEVELS.level_id``) to the values that count, or None for those that the reached code, or an entry that
counts, mentions as a text; entries without that argument count always."""


@dataclass(frozen=True)
class Definition:
    """A name of a module and the statements that bind it; of a class also one method by itself (``class.method``)."""

    module: str
    name: str


@dataclass(frozen=True)
class Entry:
    """One registration: the statement or the element of a table that makes it, the call in it, and its constant arguments."""

    module: str
    node: ast.AST
    call: ast.Call
    names: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """``REGISTRY.argument=value`` of every constant argument; empty where there is none."""
        return ",".join(map("=".join, self.arguments))


class _Module:
    """A parsed module: its definitions by name, what its imports bind, and its statements."""

    def __init__(self, name: str, text: str, *, is_package: bool) -> None:
        self.name = name
        self.package = name if is_package else name.rpartition(".")[0]
        self.tree = ast.parse(text)
        self.bound: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, str] = {}
        self.statements = list(_statements(self.tree.body))
        for statement in self.statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self.imports |= imported(statement, self.package)
            else:
                for bound in _binds(statement):
                    self.bound.setdefault(bound, []).append(statement)

    @cached_property
    def calls(self) -> list[tuple[ast.stmt, list[ast.Call], list[ast.Call]]]:
        """Every statement with the calls that its import makes (a definition: of its decorators), and those of a function in its body."""
        found = []
        for s in self.statements:
            made: Iterable[ast.AST] = s.decorator_list if isinstance(s, ast.FunctionDef | ast.ClassDef) else ast.walk(s)
            body = (n for inner in s.body for n in ast.walk(inner)) if isinstance(s, ast.FunctionDef) else ()
            found.append((s, [n for n in made if isinstance(n, ast.Call)], [n for n in body if isinstance(n, ast.Call)]))
        return found

    @cached_property
    def fills(self) -> dict[str, tuple[ast.FunctionDef, set[str]]]:
        """Functions that fill variables of the module, by name, with those variables."""
        variables = {n for n, s in self.bound.items() if not isinstance(s[-1], ast.FunctionDef | ast.ClassDef)}
        functions = (s for s in self.statements if isinstance(s, ast.FunctionDef))
        found = ((f, _binds(ast.Module(f.body, [])) & variables) for f in functions)
        return {f.name: (f, filled) for f, filled in found if filled}


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from _statements(statement.orelse)
        else:
            yield statement


def imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, str]:
    """What an import binds: name to dotted target."""
    if isinstance(node, ast.Import):
        return {a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0] for a in node.names}
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, base] if base else above)
    return {a.asname or a.name: f"{base}.{a.name}" for a in node.names}


def _binds(statement: ast.AST) -> set[str]:
    """Names that a statement of a module binds or fills."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.value, ast.Name):
            fills = isinstance(node.ctx, ast.Store) if isinstance(node, ast.Subscript) else node.attr in _FILL
            found |= {node.value.id} if fills else set()
    return found


class Program:
    """The engine's source as definitions that refer to each other."""

    def __init__(self, package: Path, root: str = ROOT) -> None:
        self.package, self.root = package, root
        self.module = cache(self._module)
        self.methods = cache(self._methods)
        self.entries = cache(self._entries)
        self.encoded = cache(self._encode)
        self.units: list[Any] = []
        self._places: dict[Any, int] = {}
        self._called: dict[int, Definition | None] = {}

    def mark(self, unit: Any) -> str:
        """Reference to a unit in an encoding, by its position in `units`."""
        if unit not in self._places:
            self._places[unit] = len(self.units)
            self.units.append(unit)
        return f"\0{self._places[unit]}\0"

    def _encode(self, unit: Any) -> _Encoded:
        """The encoding of a definition, a method or an entry."""
        out = _Encoded()
        if isinstance(unit, Entry):
            out.text = _Encoder(self, out, unit.module, unit.node).entry(unit)
            return out
        owner, _, method = unit.name.partition(".")
        if method:
            node = self.class_of(Definition(unit.module, owner))
            found = [s for s in _functions(node) if s.name == method] if node is not None else []
            own = self.mark(Definition(unit.module, owner))
            out.text = f"{own}.{method}" + "".join(_Encoder(self, out, unit.module, s).of(s) for s in found)
            return out
        statements = self.home(unit.module).bound[owner]
        is_variable = not any(isinstance(s, ast.FunctionDef | ast.ClassDef) for s in statements)
        out.variable = unit if is_variable else None
        out.text = "".join(_Encoder(self, out, unit.module, s, table=owner if is_variable else "").of(s) for s in statements)
        return out

    def _methods(self, definition: Definition) -> tuple[tuple[str, Definition], ...]:
        """A class's methods but those that Python calls by itself, by name; none of what is no class, or is plumbing."""
        plain = "." not in definition.name and not definition.module.startswith(PLUMBING)
        node = self.class_of(definition) if plain else None
        names = sorted({f.name for f in _functions(node) if not _always(f)}) if node is not None else ()
        return tuple((n, Definition(definition.module, f"{definition.name}.{n}")) for n in names)

    def _module(self, name: str) -> _Module | None:
        """The module of that name, parsed; None where there is none."""
        if name not in self.sources:
            return None
        text, is_package = self.sources[name]
        return _Module(name, text, is_package=is_package)

    def home(self, name: str) -> _Module:
        """The module of that name, which is there."""
        module = self.module(name)
        assert module is not None
        return module

    def resolve(self, target: str) -> Definition | str:
        """What a dotted name means: a definition of the engine, or a text (a module's or an outside name)."""
        for _ in range(20):
            if not target.startswith(f"{self.root}."):
                return target
            if self.module(target) is not None:
                return target
            base, _, name = target.rpartition(".")
            module = self.module(base)
            if module is None:
                return target
            if name in module.bound:
                return Definition(base, name)
            if name not in module.imports:
                return target
            target = module.imports[name]
        raise UnknownDataset(f"{target}: imports that lead to each other; expected a definition")

    def look_up(self, module: str, name: str) -> Definition | str | None:
        """What `name` means in a module's own scope; None for a builtin, or a name that is not there."""
        home = self.home(module)
        if name in home.bound:
            return Definition(module, name)
        return self.resolve(home.imports[name]) if name in home.imports else None

    def class_of(self, definition: Definition) -> ast.ClassDef | None:
        """The class statement of a definition, where it is one."""
        m = self.module(definition.module)
        found = [s for s in m.bound.get(definition.name, ()) if isinstance(s, ast.ClassDef)] if m else []
        return found[-1] if found else None

    def is_model(self, definition: Definition) -> bool:
        """Whether a class is a parameter model: its fields' values are hashed with the parameters."""
        node = self.class_of(definition)
        for base in node.bases if node else ():
            dotted = _dotted(base)
            known = self.look_up(definition.module, dotted.partition(".")[0]) if dotted else None
            if isinstance(known, Definition):
                if self.is_model(known):
                    return True
            elif isinstance(known, str) and ".".join(filter(None, (known, dotted.partition(".")[2]))) in _MODELS:
                return True
        return False

    def _entries(self, variable: Definition) -> tuple[Entry, ...]:
        """Registrations that fill a module's variable, from anywhere in the engine, sorted."""
        fillers = self.fillers(variable)
        entries = []
        for module in self._modules_that_call(f.name for f in fillers):
            for statement, calls, _ in module.calls:
                for call in calls:
                    found = self.called(module, call)
                    if found in fillers:
                        names = parameters(fillers[found])
                        entries.append(Entry(module.name, statement, call, names, constants(call, names, variable.name)))
        return tuple(sorted(entries, key=lambda e: (e.arguments, ast.dump(e.node))))

    def fillers(self, variable: Definition) -> dict[Definition, ast.FunctionDef]:
        """Functions that fill a module's variable, and those that call one of them."""
        home = self.home(variable.module)
        if any(isinstance(s, ast.FunctionDef | ast.ClassDef) for s in home.bound[variable.name]):
            return {}
        found = {Definition(home.name, f.name): f for f, filled in home.fills.values() if variable.name in filled}
        waiting = list(found)
        while waiting:
            filler = waiting.pop()
            for module in self._modules_that_call([filler.name]):
                for f, _, calls in module.calls:
                    if not isinstance(f, ast.FunctionDef) or Definition(module.name, f.name) in found:
                        continue
                    if any(self.called(module, call) == filler for call in calls):
                        found[Definition(module.name, f.name)] = f
                        waiting.append(Definition(module.name, f.name))
        return found

    def is_filler(self, definition: Definition) -> bool:
        """Whether a function fills a variable of its module: what it decorates is an entry there."""
        return definition.name in self.home(definition.module).fills

    def called(self, module: _Module, node: ast.AST) -> Definition | None:
        """The engine's function or class that a call in a module's own scope calls; None where it is another's."""
        # By identity: the trees stay as long as the program does.
        if id(node) not in self._called:
            self._called[id(node)] = self._find_called(module, node)
        return self._called[id(node)]

    def _find_called(self, module: _Module, node: ast.AST) -> Definition | None:
        dotted = _dotted(node.func) if isinstance(node, ast.Call) else ""
        first, _, rest = dotted.partition(".")
        known = self.look_up(module.name, first) if first else None
        if isinstance(known, str) and rest:
            known = self.resolve(f"{known}.{rest}")
        return known if isinstance(known, Definition) else None

    @cached_property
    def sources(self) -> dict[str, tuple[str, bool]]:
        """Text of every module by its name, read once, and whether it is a package's own."""
        texts = {}
        for path in sorted(self.package.rglob("*.py")):
            inside = path.relative_to(self.package).with_suffix("").parts
            is_package = inside[-1] == "__init__"
            texts[".".join((self.root, *(inside[:-1] if is_package else inside)))] = path.read_text(encoding="utf-8"), is_package
        return texts

    @cached_property
    def sources_hash(self) -> str:
        """One hash of all sources, and of the Python that parses them."""
        return _sha(json.dumps([sys.version, self.sources]))

    def _modules_that_call(self, names: Iterable[str]) -> Iterator[_Module]:
        calls = tuple(f"{name}(" for name in names)
        for name, (text, _) in self.sources.items():
            if any(c in text for c in calls):
                yield self.home(name)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    inner = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner and isinstance(node, ast.Attribute) else ""


def parameters(function: ast.FunctionDef) -> tuple[str, ...]:
    """Names of a function's parameters, in order."""
    return tuple(a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs))


def constants(call: ast.Call, names: tuple[str, ...], registry: str) -> tuple[tuple[str, str], ...]:
    """Arguments of a call that are constant texts, as ``registry.parameter``, without `WORDS`; sorted."""
    given = [*zip(names, call.args), *((k.arg or "", k.value) for k in call.keywords)]
    texts = ((n, v.value) for n, v in given if isinstance(v, ast.Constant) and isinstance(v.value, str) and n not in WORDS)
    return tuple(sorted((f"{registry}.{n}", v) for n, v in texts))


@dataclass
class _Encoded:
    """A unit's tree as text, with a mark for each reference to another unit, and what else it asks for."""

    text: str = ""
    asked: set[str] = field(default_factory=set)
    mentioned: set[str] = field(default_factory=set)
    modules: list[str] = field(default_factory=list)
    entries: dict[str, set[Entry]] = field(default_factory=dict)
    variable: Definition | None = None


class _Trace:
    """Definitions reached from some functions, numbered in the order of being reached, with their encodings."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.numbers: dict[Any, int] = {}
        self.queue: list[Any] = []
        self.encodings: list[str] = []
        self.asked: set[str] = set()
        self.mentioned: set[str] = set()
        self.later: defaultdict[str, set[Entry]] = defaultdict(set)
        self.modules: list[str] = []

    def number(self, unit: Any) -> int:
        """The number of a definition, a method or an entry; it is encoded when its turn comes."""
        if unit not in self.numbers:
            self.numbers[unit] = len(self.numbers)
            self.queue.append(unit)
        return self.numbers[unit]

    def run(self) -> None:
        """Encode everything that is reached, until nothing new is."""
        while self.queue:
            while self.queue:
                unit = self.queue.pop(0)
                found = self.program.encoded(unit)
                text = _MARK.sub(lambda m: f"#{self.number(self.program.units[int(m[1])])}", found.text)
                self.encodings.append(f"{self.numbers[unit]}:{text}")
                self.asked |= found.asked
                self.mentioned |= found.mentioned
                self.modules += [m for m in found.modules if m not in self.modules]
                for key, entries in found.entries.items():
                    self.later[key] |= entries
                for entry in self.program.entries(found.variable) if found.variable is not None else ():
                    if entry.key:
                        self.later[entry.key].add(entry)
                    else:
                        self.number(entry)
            self._number_what_is_asked_for()

    def _number_what_is_asked_for(self) -> None:
        for unit in list(self.numbers):
            if isinstance(unit, Definition):
                for name, method in self.program.methods(unit):
                    if name in self.asked:
                        self.number(method)
        # A module that is handed on as a value is asked for its functions by attribute.
        for name in self.modules:
            module = self.program.module(name)
            for bound in sorted(module.bound if module is not None else ()):
                if bound in self.asked:
                    self.number(Definition(name, bound))


def _functions(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [s for s in node.body if isinstance(s, ast.FunctionDef)]


def _always(function: ast.FunctionDef) -> bool:
    """Methods that Python calls by itself belong to the class."""
    return function.name.startswith("__") and function.name.endswith("__")


class _Encoder:
    """Writes one statement of a module as text, without what does not count."""

    def __init__(self, program: Program, out: _Encoded, module: str, statement: ast.AST, table: str = "") -> None:
        self.program, self.out, self.module, self.table = program, out, module, table
        self.in_dict = False
        self.words: frozenset[int] = frozenset()
        self.locals: dict[str, int] = {}
        self.parameters: set[str] = set()
        self.own: set[str] = set()
        self.imports: dict[str, str] = {}
        self.home = program.home(module)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            self._scope(statement)
        elif not isinstance(statement, ast.ClassDef):
            # A comprehension's or a loop's variables; what the module binds is known to it by name.
            loops = (n.target for n in ast.walk(statement) if isinstance(n, ast.comprehension | ast.For))
            self.own = {n.id for target in loops for n in ast.walk(target) if isinstance(n, ast.Name)}
            self.locals = dict.fromkeys(self.own, -1)

    def _scope(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        a = function.args
        outer = {x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x is not None}
        stored: set[str] = set()
        outside: set[str] = set()
        for node in ast.walk(function):
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Store):
                    stored.add(node.id)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                self.imports |= imported(node, self.home.package)
            elif isinstance(node, ast.arg):
                self.parameters.add(node.arg)
            elif isinstance(node, ast.Global):
                outside.update(node.names)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.ExceptHandler) and node is not function and node.name:
                stored.add(node.name)
        self.locals = dict.fromkeys(stored - self.parameters - outside, -1)
        self.own = outer | {n.id for n in _own_scope(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} - outside

    def entry(self, entry: Entry) -> str:
        """A registration: the decorated definition or the statement, and the call's arguments but the words."""
        node, call = entry.node, entry.call
        positional = (id(v) for n, v in zip(entry.names, call.args) if n in WORDS)
        self.words = frozenset((*positional, *(id(k) for k in call.keywords if k.arg in WORDS)))
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            return self.of(node)
        return f"entry {self.program.mark(Definition(entry.module, node.name))} {self.of(call)}"

    def of(self, node: Any) -> str:
        """Text of a node, a list of nodes, or a plain value."""
        if isinstance(node, list):
            return "[" + ",".join(filter(None, (self.of(n) for n in node))) + "]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if id(node) in self.words:
            return ""
        special = getattr(self, f"_{type(node).__name__}", None)
        if special is not None:
            return str(special(node))
        return f"{type(node).__name__}({','.join(self.of(value) for name, value in ast.iter_fields(node) if name not in _UNREAD)})"

    def _reference(self, found: Definition | str, rest: str = "") -> str:
        """A name that leads out of the statement, as a number, or as the text of what is not the engine's."""
        while isinstance(found, str) and rest and found.startswith(self.program.root):
            first, _, rest = rest.partition(".")
            found = self.program.resolve(f"{found}.{first}")
        for name in filter(None, rest.split(".")):
            self.out.asked.add(name)
        after = f".{rest}" if rest else ""
        if isinstance(found, str):
            if found.startswith(f"{self.program.root}.") and not found.startswith(PLUMBING):
                self.out.modules.append(found)
                return f"<module{after}>"
            return f"<{found}{after}>"
        if found.module.startswith(PLUMBING):
            return f"<{found.name}{after}>"
        return f"{self.program.mark(found)}{after}"

    def _Name(self, node: ast.Name) -> str:
        return self._named(node.id)

    def _named(self, name: str, rest: str = "") -> str:
        if name in self.imports:
            return self._reference(self.program.resolve(self.imports[name]), rest)
        after = f".{rest}" if rest else ""
        for attribute in filter(None, rest.split(".")):
            self.out.asked.add(attribute)
        is_local = name in self.locals or name in self.parameters
        # A nested function's variable may share its name with a definition that the outer one means.
        found = None if name in self.own else self.program.look_up(self.module, name)
        shadowed = "" if found is None or not is_local else self._reference(found)
        if name in self.locals:
            if self.locals[name] < 0:
                self.locals[name] = sum(n >= 0 for n in self.locals.values())
            return f"${self.locals[name]}{shadowed}{after}"
        if is_local:
            return f"{name}{shadowed}{after}"
        return f"{name}{after}" if found is None else self._reference(found, rest)

    def _Attribute(self, node: ast.Attribute) -> str:
        dotted = _dotted(node)
        if dotted:
            first, _, rest = dotted.partition(".")
            return self._named(first, rest)
        self.out.asked.add(node.attr)
        return f"{self.of(node.value)}.{node.attr}"

    def _Subscript(self, node: ast.Subscript) -> str:
        return f"{self.of(node.value)}[{self.of(node.slice)}]"

    def _Constant(self, node: ast.Constant) -> str:
        if isinstance(node.value, str):
            self.out.mentioned.add(node.value)
        return f"{type(node.value).__name__} {node.value!r}"

    def _Call(self, node: ast.Call) -> str:
        function = self.of(node.func)
        args = node.args[1:] if function.endswith("typing.cast>") else node.args
        return f"{function}({self.of(args)},{self.of(sorted(node.keywords, key=lambda k: k.arg or ''))})"

    def _Dict(self, node: ast.Dict | ast.DictComp) -> str:
        before, self.in_dict = self.in_dict, bool(self.table)
        inside = ",".join(self.of(value) for _, value in ast.iter_fields(node))
        self.in_dict = before
        return f"{type(node).__name__}({inside})"

    _DictComp = _Dict

    def _Tuple(self, node: ast.Tuple | ast.List) -> str:
        return f"{type(node).__name__}{self.of([e for e in node.elts if not self._keyed(e)])}"

    _List = _Tuple

    def _keyed(self, element: ast.expr) -> bool:
        """Whether an element of a module's dict is an entry of its own, such as ``Root("ES", ...)`` in `ROOTS`; it is encoded apart."""
        if not self.in_dict or not isinstance(element, ast.Call):
            return False
        found = self.program.called(self.home, element)
        node = self.program.class_of(found) if found is not None else None
        fields = tuple(s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)) if node else ()
        arguments = tuple(a for a in constants(element, fields, self.table) if a[0] == f"{self.table}.{fields[0]}")
        if not arguments:
            return False
        entry = Entry(self.module, element, element, fields, arguments)
        self.out.entries.setdefault(entry.key, set()).add(entry)
        return True

    def _FunctionDef(self, node: ast.FunctionDef) -> str:
        decorators = [d for d in node.decorator_list if not self._registers(d)]
        outer = node.name in self.locals
        a = node.args
        arguments = self.of([*a.posonlyargs, *a.args]) + self.of(a.vararg) + self.of(a.kwonlyargs) + self.of(a.kwarg)
        defaults = self.of(a.defaults) + self.of(a.kw_defaults)
        return f"def {self._named(node.name) if outer else ''}{arguments}{defaults}{self.of(decorators)}{self.of(node.body)}"

    _AsyncFunctionDef = _FunctionDef

    def _registers(self, node: ast.expr) -> bool:
        """Whether a decorator puts what it decorates into a registry: entries count where the registry is reached."""
        found = self.program.called(self.home, node)
        return found is not None and self.program.is_filler(found)

    def _ClassDef(self, node: ast.ClassDef) -> str:
        known = self.program.look_up(self.module, node.name)
        if isinstance(known, Definition) and self.program.is_model(known):
            return "model"
        body = [s for s in node.body if not isinstance(s, ast.FunctionDef) or _always(s)]
        # A field may be called as something of the module is.
        self.own |= {name for s in body if isinstance(s, ast.Assign | ast.AnnAssign) for name in _binds(s)}
        inside = "".join(
            _Encoder(self.program, self.out, self.module, s).of(s) if isinstance(s, ast.FunctionDef) else self.of(s) for s in body
        )
        named = [s.name for s in body if isinstance(s, ast.FunctionDef)]
        return f"class {self.of(node.bases)}{self.of(node.keywords)}{self.of(node.decorator_list)}{named}{inside}"

    def _arg(self, node: ast.arg) -> str:
        return node.arg

    def _AnnAssign(self, node: ast.AnnAssign) -> str:
        return f"{self.of(node.target)}={self.of(node.value)};"

    def _Raise(self, node: ast.Raise) -> str:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return f"raise {_dotted(raised).rpartition('.')[2] if raised is not None else ''};"

    def _Expr(self, node: ast.Expr) -> str:
        return "" if isinstance(node.value, ast.Constant) else f"{self.of(node.value)};"

    def _nothing(self, node: ast.AST) -> str:
        return ""

    _Import = _ImportFrom = _Pass = _Assert = _Global = _Nonlocal = _nothing


_SCOPES = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.ClassDef)
_UNREAD = frozenset(("ctx", "type_comment", "annotation", "returns", "kind", "type_params"))


def _own_scope(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a function's own scope, without those of functions and comprehensions in it."""
    waiting = [function]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            yield child
            if not isinstance(child, _SCOPES):
                waiting.append(child)


@dataclass(frozen=True)
class CodeVersion:
    """What some functions depend on: `core` is the hash of everything but the entries of registries, `mentioned` the texts in that code.
    `entries` maps ``argument=value`` of each entry to its constant arguments, its hash and the texts in it; `reached` names all
    definitions, entries included, as ``module:name``.
    """

    core: str
    mentioned: frozenset[str]
    entries: dict[str, tuple[dict[str, str], str, frozenset[str]]]
    reached: tuple[str, ...]

    def selected(self, selection: Selection) -> dict[str, str]:
        """Hashes of the entries that `selection` asks for."""
        found: dict[str, str] = {}
        mentioned = set(self.mentioned)
        more = True
        while more:
            more = False
            for key, (given, digest, texts) in self.entries.items():
                wanted = ((given[a], mentioned if values is None else values) for a, values in selection.items() if a in given)
                if key not in found and all(value in values for value, values in wanted):
                    found[key] = digest
                    mentioned |= texts - set(given.values())
                    more = True
        return found

    def digest(self, selection: Selection) -> str:
        """One hash of it all."""
        return _sha(json.dumps([EPOCH, self.core, sorted(self.selected(selection).items())]))


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def trace(program: Program, functions: tuple[tuple[str, str], ...]) -> CodeVersion:
    """What functions, given as (module, name), depend on.
    Raises UnknownDataset where a function is not a definition of its module: its changes would go unseen.
    """
    core = _Trace(program)
    for module, name in functions:
        found = program.module(module)
        if found is None or name not in found.bound:
            raise UnknownDataset(f"{module}:{name}: expected a function or class of a module under {program.package}, found none")
        core.number(Definition(module, name))
    core.run()
    entries: dict[str, tuple[dict[str, str], str, frozenset[str]]] = {}
    reached = {u for u in core.numbers if isinstance(u, Definition)}
    waiting = dict(core.later)
    while waiting:
        key, found_entries = waiting.popitem()
        hashes: list[str] = []
        mentioned: set[str] = set()
        for entry in found_entries:
            part = _Trace(program)
            part.number(entry)
            part.run()
            hashes.append(_sha("\n".join(part.encodings)))
            mentioned |= part.mentioned
            reached |= {u for u in part.numbers if isinstance(u, Definition)}
            waiting |= {k: e for k, e in part.later.items() if k not in entries and k != key}
        entries[key] = (dict(entry.arguments), _sha(json.dumps(sorted(hashes))), frozenset(mentioned))
    names = tuple(sorted(f"{u.module}:{u.name}" for u in reached))
    return CodeVersion(_sha("\n".join(core.encodings)), frozenset(core.mentioned), entries, names)


@lru_cache(maxsize=1)
def _program(package: Path) -> Program:
    return Program(package)


@lru_cache(maxsize=64)
def _traced(package: Path, functions: tuple[tuple[str, str], ...]) -> CodeVersion:
    """What `trace` finds, kept beside Python's compiled modules: every command and worker would take a second to find the same."""
    program, key = _program(package), ",".join(map(":".join, functions))
    file = package / "__pycache__" / f"code_versions.{sys.implementation.cache_tag}.json"
    if program.sources.get(__name__, (OWN_SOURCE, False))[0] != OWN_SOURCE:
        return trace(program, functions)
    kept = _kept(file, program.sources_hash)
    if key not in kept:
        kept[key] = trace(program, functions)
        half = file.with_name(f"{file.name}.{os.getpid()}")
        with suppress(OSError):  # where nothing can be written, each process finds it anew
            try:
                body = {k: vars(v) for k, v in kept.items()}
                half.write_text(json.dumps([program.sources_hash, body], default=sorted), encoding="utf-8")
                half.replace(file)
            finally:
                half.unlink(missing_ok=True)
    return kept[key]


@lru_cache(maxsize=1)
def _kept(file: Path, sources_hash: str) -> dict[str, CodeVersion]:
    """What was found before for the same sources; nothing where the file is of others, or is none."""
    try:
        of, found = json.loads(file.read_text(encoding="utf-8"))
        return {key: _from_json(**body) for key, body in found.items()} if of == sources_hash else {}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _from_json(core: str, mentioned: list[str], entries: dict[str, Any], reached: list[str]) -> CodeVersion:
    found = {k: (dict(given), digest, frozenset(texts)) for k, (given, digest, texts) in entries.items()}
    return CodeVersion(core, frozenset(mentioned), found, tuple(reached))


def forget_sources() -> None:
    """Read the source again when it is asked for next; for tests, and for a notebook in which it was edited."""
    _program.cache_clear()
    _traced.cache_clear()
    _kept.cache_clear()
    _earlier.cache_clear()


def code_of(*functions: Callable[..., Any]) -> CodeVersion:
    """What `functions`, definitions of the engine's modules, depend on."""
    return _traced(PACKAGE, tuple((f.__module__, f.__qualname__) for f in functions))


@lru_cache(maxsize=1)
def _earlier(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def accepted(version: CodeVersion, selection: Selection, packages: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Hashes of code that makes the same rows: first that of the code as it is, then those of earlier code.

    `packages` are distributions whose version decides about the rows, as the exchange's calendar does, and their versions. Earlier code is
    listed in ``earlier_code.json``, where a comparison of two lakes showed that it makes the same rows (``python -m
    tests.support.same_rows``); such an entry holds only as long as the code is what it was compared with.
    """
    packages = dict(packages or {})
    mine = version.selected(selection)
    digest = version.digest(selection)
    if packages:
        digest = _sha(json.dumps([digest, packages], sort_keys=True, separators=(",", ":")))
    earlier = (
        old
        for old, was in _earlier(EARLIER).items()
        if (was["epoch"], was["core"], was["packages"]) == (EPOCH, version.core, packages)
        and all(was["entries"].get(k) == h for k, h in mine.items())
    )
    return (digest, *earlier)
