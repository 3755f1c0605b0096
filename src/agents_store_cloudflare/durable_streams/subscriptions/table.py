"""The subscriptions of one namespace, and the settings of their index, in the tables of one object."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final, TypeVar, cast

from agents_store_cloudflare.database import ObjectSql, SqlError
from agents_store_cloudflare.durable_streams.refusals import Refusal
from agents_store_cloudflare.durable_streams.subscriptions import sql as q
from agents_store_cloudflare.durable_streams.subscriptions.config import SubscriptionConfig
from agents_store_cloudflare.durable_streams.subscriptions.records import Subscription, WakeState

__all__ = ["MAX_SUBSCRIPTIONS", "SubscriptionTable"]

T = TypeVar("T")

MAX_SUBSCRIPTIONS: Final = 1_000


class SubscriptionTable:
    """All subscriptions, read once in an object's life and then kept in memory."""

    def __init__(self, sql: ObjectSql) -> None:
        self._sql = sql
        self._loaded: dict[str, Subscription] | None = None

    def is_there(self) -> bool:
        """Return whether there ever was a subscription."""
        try:
            self._sql.exec(q.SELECT_SETTING, "secret")
        except SqlError as error:
            if error.is_missing_table():
                return False
            raise
        return True

    def existing(self, subscription_id: str) -> Subscription:
        """Return the subscription.

        Raises:
            Refusal: 404.
        """
        found = self._all().get(subscription_id)
        if found is None:
            raise Refusal(404, "SUBSCRIPTION_NOT_FOUND", "there is no such subscription")
        return found

    def all(self) -> Mapping[str, Subscription]:
        """Return every subscription by its id."""
        return self._all()

    def is_alike(self, subscription_id: str, config: SubscriptionConfig) -> bool:
        """Return whether this subscription exists with this configuration. False means that it does not exist and may be made.

        Raises:
            Refusal: 409, it exists with another configuration, or there are too many subscriptions.
        """
        present = self._all().get(subscription_id)
        if present is not None:
            if present.config.hash() == config.hash():
                return True
            raise Refusal(409, "SUBSCRIPTION_EXISTS", "there is a subscription of this id with another configuration")
        if len(self._all()) >= MAX_SUBSCRIPTIONS:
            raise Refusal(409, "TOO_MANY_SUBSCRIPTIONS", f"there are {MAX_SUBSCRIPTIONS:,} subscriptions")
        return False

    def store(self, subscription: Subscription) -> Subscription:
        """Store a subscription. Call it inside `changed`."""
        self.prepare()
        config, state = json.dumps(subscription.config.to_json()), json.dumps(asdict(subscription.state))
        self._sql.exec(q.UPSERT_SUBSCRIPTION, subscription.id, config, state)
        self._all()[subscription.id] = subscription
        return subscription

    def remove(self, subscription_id: str) -> None:
        """Remove a subscription. Call it inside `changed`."""
        self._sql.exec(q.DELETE_SUBSCRIPTION, subscription_id)
        self._all().pop(subscription_id, None)

    def changed(self, write: Callable[[], T]) -> T:
        """Run several changes as one. If one fails, all of them are undone, in the rows and in memory."""
        self.prepare()
        try:
            return self._sql.transaction(write)
        except BaseException:
            self._loaded = None
            raise

    def setting(self, name: str, fresh: str | None = None) -> str | None:
        """Return the value of a setting. If it has none, store a fresh value first."""
        if fresh is not None:
            self.prepare()
            self._sql.exec(q.INSERT_SETTING, name, fresh)
        rows = cast("list[list[str]]", self._sql.exec(q.SELECT_SETTING, name)) if self.is_there() else []
        return rows[0][0] if rows else None

    def set(self, name: str, value: str) -> None:
        """Store a setting, and replace its earlier value."""
        self.prepare()
        self._sql.exec(q.UPSERT_SETTING, name, value)

    def secret(self) -> str:
        """Return the key that signs tokens. The first call makes it."""
        return self.setting("secret") or cast("str", self.setting("secret", secrets.token_hex(32)))

    def prepare(self) -> None:
        """Make the tables if they do not exist."""
        if not self.is_there():
            self._sql.transaction(lambda: [self._sql.exec(statement) for statement in q.CREATE_TABLES])
            self._loaded = None

    def _all(self) -> dict[str, Subscription]:
        if self._loaded is None:
            rows = cast("list[list[str]]", self._sql.exec(q.SELECT_SUBSCRIPTIONS)) if self.is_there() else []
            self._loaded = {
                key: Subscription(
                    id=key,
                    config=SubscriptionConfig.from_json(json.loads(config)),
                    state=WakeState(**json.loads(state)),
                )
                for key, config, state in rows
            }
        return self._loaded
