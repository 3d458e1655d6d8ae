"""What `app.conf.saga_*` may be: nothing that is set is overlooked, and nonsense is refused.

Owns: names, spellings and values of the settings.  Refuses to know: what each of them does.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from celeriac.errors import ConfigurationError
from celeriac.settings import Settings, read_settings


def settings_of(**conf: Any) -> Settings:
    """The settings of an app with this configuration."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(conf)
    return read_settings(app.conf)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("saga_leese", "saga_lease"),
        ("SAGA_LEESE", "saga_lease"),
        ("saga_shard", "saga_shards"),
        ("saga_sweep_intervall", "saga_sweep_interval"),
        ("saga_redis", "saga_redis_url"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(name: str, meant: str) -> None:
    """A misspelt setting would otherwise leave the default in force, unseen."""
    told = f"{name} is not a setting; did you mean {meant}\\?"
    with pytest.raises(ConfigurationError, match=told):
        settings_of(**{name: 5})


def test_a_name_like_no_other_is_refused_with_all_there_are() -> None:
    """Where nothing is near, the message lists what can be set."""
    told = "saga_xyzzy is not a setting; the settings are .*saga_namespace, saga_shards"
    with pytest.raises(ConfigurationError, match=told):
        settings_of(saga_xyzzy=1)


def test_upper_case_counts_as_in_celery() -> None:
    """In `app.conf`, in a configuration object, and under a namespace as in Django."""
    assert settings_of(SAGA_LEASE=30).lease == 30
    for namespace, name in ((None, "SAGA_LEASE"), ("CELERY", "CELERY_SAGA_LEASE")):
        app = Celery("shop", set_as_current=False)
        app.config_from_object(SimpleNamespace(**{name: 31}), namespace=namespace)
        assert read_settings(app.conf).lease == 31


def test_a_prefix_that_nobody_declared_is_told() -> None:
    """As in Django, without the namespace: the setting would be read by nobody."""
    app = Celery("shop", set_as_current=False)
    app.config_from_object(SimpleNamespace(CELERY_SAGA_LEASE=31))
    with pytest.raises(ConfigurationError, match="CELERY_SAGA_LEASE is not read: write saga_lease"):
        read_settings(app.conf)


def test_two_spellings_that_disagree_are_refused() -> None:
    """Nobody could say which of them is meant."""
    with pytest.raises(ConfigurationError, match="are the same setting"):
        settings_of(saga_lease=20, SAGA_LEASE=30)
    assert settings_of(saga_lease=20, SAGA_LEASE=20).lease == 20


NUMBERS = [name for name, field in Settings.model_fields.items() if field.metadata]
NONSENSE: list[Any] = [float("inf"), float("-inf"), float("nan"), 0, -1, True, False, 1e300, "abc"]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
@pytest.mark.parametrize(
    "name",
    [name for name in NUMBERS if isinstance(Settings.model_fields[name].default, int | float)]
    + ["grace", "metrics_port"],
)
def test_nonsense_for_a_number_is_refused(name: str, value: Any) -> None:
    """By a sentence that names the setting, what was given, and what to write."""
    if name == "max_payload" and value == 1e300:
        value = 1.5
    if name == "run_ahead" and value == 0 and value is not False:
        assert settings_of(saga_run_ahead=0).run_ahead == 0  # turns it off
        return
    with pytest.raises(ConfigurationError, match=f"saga_{name} must be a .*number .*for example"):
        settings_of(**{f"saga_{name}": value})


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"saga_traces": "perhaps"}, "saga_traces must be True or False"),
        ({"saga_namespace": "a:b"}, "saga_namespace must be letters"),
        ({"saga_namespace": 7}, "saga_namespace must be letters"),
        ({"saga_heartbeat_file": True}, "saga_heartbeat_file must be the path"),
        ({"saga_archive": 7}, "saga_archive must be a callable"),
        ({"saga_metrics_host": ""}, "saga_metrics_host must be an address"),
        ({"saga_lease": 1.0, "saga_sweep_interval": 0.9}, "^saga_lease .* at least twice"),
    ],
)
def test_other_nonsense_is_refused(conf: dict[str, Any], message: str) -> None:
    """Each with what to write instead."""
    with pytest.raises(ConfigurationError, match=message):
        settings_of(**conf)


def test_a_url_is_never_shown() -> None:
    """It may hold a password, and the message goes to the logs."""
    with pytest.raises(ConfigurationError, match="saga_redis_url must be the URL") as caught:
        settings_of(saga_redis_url=["redis://:secret@host/0"])
    assert "secret" not in str(caught.value)


def test_what_is_left_out_and_what_is_given_as_text_count() -> None:
    """None is the default; numbers may come from the environment, as text."""
    assert settings_of(saga_lease=None).lease == Settings().lease
    assert settings_of(saga_lease="30", saga_shards="4") == Settings(lease=30, shards=4)
