"""Which Redis holds run state: the setting, else the broker's; an error says what to set."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celeriac.errors import ConfigurationError
from celeriac.settings import read_settings
from celeriac.workers.state_url import redis_url


def url_of(**conf: Any) -> str:
    """The URL for an app with this configuration."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(conf)
    return redis_url(app, read_settings(app.conf))


def test_the_brokers_redis_will_do() -> None:
    """Unless the setting names another."""
    assert url_of(broker_url="redis://one/0") == "redis://one/0"
    assert url_of(broker_url="redis://one/0", saga_redis_url="redis://two/1") == "redis://two/1"


@pytest.mark.parametrize(
    ("broker", "complaint"),
    [
        ("amqp://guest@rabbit//", "needs a Redis, and the broker is not one"),
        (["redis://one/0", "redis://two/0"], "there are several brokers"),
    ],
)
def test_what_is_not_one_redis_is_refused(broker: Any, complaint: str) -> None:
    """With the setting that says which it is."""
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        url_of(broker_url=broker)
    assert "saga_redis_url" in str(caught.value)
    assert url_of(broker_url=broker, saga_redis_url="redis://two/1") == "redis://two/1"
