"""The instruments know every call of every role."""

import pytest

from tests.instruments.catalog import ROLES
from tests.instruments.operations import Role


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_call_is_an_operation(role: Role) -> None:
    """A new call of a protocol is covered by the instruments, or this test names it."""
    calls = {
        f"{protocol.__name__}.{name}"
        for protocol in role.protocols
        for name in dir(protocol)
        if not name.startswith("_") and callable(getattr(protocol, name))
    }
    covered = {name for operation in role.operations for name in operation.covers}
    assert calls - covered - role.reads == set(), "give it an operation in tests/instruments, or call it a read"
    assert (covered | role.reads) - calls == set(), "no such call any more"
