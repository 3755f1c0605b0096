"""Runs acts: it shows the confirmation, checks its form, does the act, shows the receipt and writes the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from agents_store_cloudflare.cloudflare.http import read_body
from agents_store_cloudflare.console.acts import ACTS, Act, Plan, Receipt
from agents_store_cloudflare.console.asking import Asked, Shown
from agents_store_cloudflare.console.forgery import is_genuine, is_own_origin, new_guard
from agents_store_cloudflare.console.html import Markup, element as h, joined
from agents_store_cloudflare.console.layout import facts
from agents_store_cloudflare.console.text import one_line, visible
from agents_store_cloudflare.contract.errors import AgentsStoreError, InvalidArgumentError
from agents_store_cloudflare.contract.json_values import parse_json
from agents_store_cloudflare.objects.http_messages import HttpRequest, HttpResponse

__all__ = ["ForbiddenError", "act_of", "confirmation", "performed"]

BODY_BYTES: Final = 64 * 1024
MOST_FIELDS: Final = 50
_GUARD: Final = ("token", "expires")


class ForbiddenError(AgentsStoreError):
    """The request has no permission for this act."""

    code = "forbidden"
    http_status = 403


def act_of(asked: Asked) -> tuple[str, Act] | None:
    """Return the act of this page name, or None if this console offers no such act."""
    name = asked.page.removeprefix("act/")
    act = ACTS.get(name) if asked.page.startswith("act/") else None
    if act is None or (act.needs_objects and asked.sources.objects is None):
        return None
    return name, act


async def confirmation(asked: Asked, name: str, act: Act) -> Shown:
    """Return the page that explains an act, with the form that starts it."""
    plan = await act.plan(asked)
    guard = new_guard(asked.request, asked.prefix, name, plan.fixed, asked.now_ms)
    hidden = {**plan.fixed, "token": guard.token, "expires": guard.expires}
    data: Any = {
        "act": name,
        "says": [*plan.says],
        "form": {**hidden, **{entry.name: entry.value for entry in plan.entries}},
    }
    return Shown(
        title=plan.title,
        data=data,
        body=lambda: _form(asked, name, plan, hidden),
        headers={"set-cookie": guard.set_cookie},
    )


def _form(asked: Asked, name: str, plan: Plan, hidden: Mapping[str, str]) -> Markup:
    entries = [
        h(
            "label",
            entry.label,
            h(
                "input",
                name=entry.name,
                value=entry.value,
                type=entry.kind,
                required=True,
                autocomplete="off",
                min=0 if entry.kind == "number" else None,
            ),
        )
        for entry in plan.entries
    ]
    return joined(
        [h("p", text) for text in plan.says],
        h(
            "form",
            [h("input", type="hidden", name=key, value=value) for key, value in hidden.items()],
            entries,
            h("p", h("button", plan.button, type="submit", class_="danger"), " ", h("a", "Leave it", href=plan.back)),
            method="post",
            action=asked.link(f"act/{name}"),
            class_="act",
        ),
    )


async def performed(asked: Asked, request: object, name: str, act: Act, logger: logging.Logger) -> Shown | HttpResponse:
    """Do an act that a form has confirmed.

    Raises:
        ForbiddenError: the form is not from this console, or another page sent it.
        InvalidArgumentError: the body is no form.
    """
    if not is_own_origin(asked.request):
        raise ForbiddenError("pages of other origins may not act here")
    given = await _given(asked.request, request)
    _check(asked, name, act, given)
    told = json.dumps({key: one_line(visible(value), 200) for key, value in given.items() if key not in _GUARD})
    logger.warning("console: %s begins: %s", name, told)
    try:
        receipt = await act.perform(_about(asked, given), given)
    except Exception as error:
        logger.warning("console: %s failed (%s): %s", name, type(error).__name__, told)
        raise
    logger.warning("console: %s done: %s", name, told)
    return _file(receipt) if receipt.file is not None else _shown(receipt)


def _about(asked: Asked, given: Mapping[str, str]) -> Asked:
    """Return the request with the fixed values of its form in place of its query, because the operator has confirmed these values."""
    return Asked(
        sources=asked.sources,
        prefix=asked.prefix,
        page=asked.page,
        is_api=asked.is_api,
        query=given,
        request=asked.request,
        now_ms=asked.now_ms,
    )


def _check(asked: Asked, name: str, act: Act, given: Mapping[str, str]) -> None:
    fixed = {key: value for key, value in given.items() if key not in _GUARD and key not in act.written}
    token, expires = given.get("token", ""), given.get("expires", "")
    if not is_genuine(asked.request, asked.prefix, name, fixed, token, expires, asked.now_ms):
        raise ForbiddenError("this form is not one that was shown to you within the last hour; open its page again")


async def _given(value: HttpRequest, request: object) -> dict[str, str]:
    body = value.body if request is value else await read_body(request, BODY_BYTES)
    if body is None or len(body) > BODY_BYTES:
        raise InvalidArgumentError(f"a form may have {BODY_BYTES:,} bytes")
    text = body.decode(errors="replace")
    kind = (value.header("Content-Type") or "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        if text.count("&") >= MOST_FIELDS:
            raise InvalidArgumentError(f"a form may have {MOST_FIELDS} fields")
        return dict(parse_qsl(text, keep_blank_values=True))
    if kind == "application/json":
        fields = parse_json(text, name="the body")
        if isinstance(fields, dict) and all(isinstance(each, str) for each in fields.values()):
            return cast("dict[str, str]", fields)
    raise InvalidArgumentError("send the form as application/x-www-form-urlencoded, or as a JSON object of texts")


def _shown(receipt: Receipt) -> Shown:
    return Shown(
        title=receipt.title,
        data=receipt.data,
        body=lambda: joined(facts(receipt.facts), h("p", h("a", "Go on", href=receipt.back))),
    )


def _file(receipt: Receipt) -> HttpResponse:
    name, content = receipt.file or ("", "")
    headers = {
        "content-type": "application/json; charset=utf-8",
        "content-disposition": f'attachment; filename="{name}"',
    }
    return HttpResponse(status=200, headers=headers, body=content)
