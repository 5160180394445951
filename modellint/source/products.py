"""Products of tensors, as they are written: their factors, and the letters of an einsum."""

from __future__ import annotations

from .code import Value

PRODUCTS = frozenset({"matmul", "bmm", "einsum", "baddbmm"})


def is_product(value: Value) -> bool:
    if value.kind == "operation":
        return value.name == "@"
    called = value.kind == "call" and value.method in PRODUCTS and value.receiver is not None
    return called and len(factors(value)) > 1  # an einsum of one tensor only turns it


def factors(product: Value) -> tuple[Value, ...]:
    if product.kind == "operation":
        return product.arguments
    if product.method == "einsum":
        given = product.arguments[1:]
        return given[0].arguments if len(given) == 1 and given[0].kind in ("list", "tuple") else given
    if product.name.startswith("torch."):
        return product.arguments[int(product.method == "baddbmm") :]
    return (product.receiver, *product.arguments) if product.receiver is not None else ()


def equation(product: Value) -> tuple[list[str], str] | None:
    """The letters of the factors of an einsum, and those of its result."""
    written = product.arguments[0].constant if product.method == "einsum" and product.arguments else None
    if not isinstance(written, str) or "->" not in written or "." in written:
        return None
    left, _, right = written.replace(" ", "").partition("->")
    return left.split(","), right
