"""Error answers as upstreams really give them. The adapters read them alike on every wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.providers.bodies import written
from tests.providers.wire import Script, answer, answering


def refusal(line: str, /, *, headers: Iterable[str] = (), **error: Any) -> bytes:
    """An error answer with a status *line* such as ``"429 Too Many Requests"``; *error* goes into its error object."""
    document = {"error": {"code": int(line[:3]), "message": line[4:], **error}}
    return answer(written(document), status=line, headers=headers)


def refuses(line: str, /, *, headers: Iterable[str] = (), **error: Any) -> Script:
    """Answers every request with that :func:`refusal`."""
    return answering(refusal(line, headers=headers, **error))


def quota(period: str, retry_delay: str) -> bytes:
    """Google's 429 when the quota per *period* (``"Minute"``, ``"Day"``) is used up, with RetryInfo."""
    quota_id = f"GenerateRequestsPer{period}PerProjectPerModel"
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota_id}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry_delay},
    ]
    return refusal(THROTTLED, message="You exceeded your quota.", status="RESOURCE_EXHAUSTED", details=details)


OVERLOADED = "503 Service Unavailable"
FAILING = "500 Internal Server Error"
THROTTLED = "429 Too Many Requests"
WRONG_KEY = "401 Unauthorized"
REGION = {"message": "User location is not supported for the API use.", "status": "FAILED_PRECONDITION"}
"""What Google says to calls from a country that it does not serve; its status is 400."""
