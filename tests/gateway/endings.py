"""How requests end that do not end in a result."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from gateway import GatewayError
from tests.gateway.upstreams import Studio


def failure(painters: Studio, kind: type[GatewayError] = GatewayError, **fields: Any) -> GatewayError:
    """The error that a request ends in; it comes back from a pickle as it was."""
    with pytest.raises(kind) as caught:
        painters.draw(**fields)
    error = caught.value
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), vars(back)) == (str(error), vars(error))
    return error
