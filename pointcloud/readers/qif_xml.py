"""XML from outside, read without trust: no DTD, no entity, no external reference, bounded depth.

The Python library's expat reads the bytes; this module only builds a small tree that remembers the line of each
element, so that errors can name it. Namespaces are dropped: local names are unique within QIF.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn
from xml.parsers import expat

from pointcloud.readers._raw import FileBytes

MAX_DEPTH = 128


class Node:
    """An element: local name, attributes, own text, children, line."""

    __slots__ = ("attributes", "children", "line", "name", "parts")

    def __init__(self, name: str, attributes: dict[str, str], line: int) -> None:
        self.name = name
        self.attributes = attributes
        self.line = line
        self.children: list[Node] = []
        self.parts: list[str] = []

    @property
    def text(self) -> str:
        """All own text joined: comments inside the element do not break it."""
        return "".join(self.parts).strip()

    @property
    def place(self) -> str:
        """Where the element stands, for messages."""
        return f"line {self.line}, <{self.name}>"

    def first(self, *path: str) -> Node | None:
        """The first descendant along a path of local names, or None."""
        node: Node | None = self
        for name in path:
            node = next((child for child in node.children if child.name == name), None) if node else None
        return node

    def text_of(self, *path: str) -> str | None:
        """Text at a path, None where the element is absent or empty."""
        node = self.first(*path)
        return (node.text or None) if node else None

    def each(self, *path: str) -> Iterator[Node]:
        """The children of the element at a path."""
        node = self.first(*path)
        if node is not None:
            yield from node.children

    def walk(self) -> Iterator[Node]:
        """This element and all below it, in the order of the file; iterative."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.children))


def parse(source: FileBytes, *, kind: str = "QIF") -> Node:
    """Root element of an XML file of this kind; raises `ReaderError` for broken XML and for any DTD or entity."""
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    roots: list[Node] = []
    stack: list[Node] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) >= MAX_DEPTH:
            source.fail(
                f"elements are nested deeper than {MAX_DEPTH}",
                f"line {parser.CurrentLineNumber}",
                f"this is no {kind} file",
            )
        local = {key.rpartition("}")[2]: value for key, value in attributes.items()}
        node = Node(name.rpartition("}")[2], local, parser.CurrentLineNumber)
        (stack[-1].children if stack else roots).append(node)
        stack.append(node)

    def end(_name: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        if stack:
            stack[-1].parts.append(data)

    def refuse(*_: object) -> NoReturn:
        source.fail(
            "holds a document type or an entity, which are refused: they can read other files or grow without limit",
            f"line {parser.CurrentLineNumber}",
            f"remove the <!DOCTYPE ...> part; {kind} needs none",
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.UnparsedEntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.SkippedEntityHandler = refuse
    try:
        parser.Parse(source.data, True)
    except expat.ExpatError as error:
        source.fail(
            f"is not well-formed XML: {expat.ErrorString(error.code)}",
            f"line {error.lineno}, column {error.offset + 1}",
            "the file is damaged or cut off; export it again",
        )
    except (UnicodeError, LookupError, ValueError) as error:
        source.fail(f"has an unreadable encoding: {error}", "line 1", "save the file as UTF-8")
    return roots[0]
