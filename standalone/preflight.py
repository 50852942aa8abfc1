"""Programs' settings to nothing, or to the one message that says what would keep them from starting."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from aggregator.settings import Settings as AggregatorSettings
from aggregator.settings import SettingsError as AggregatorSettingsError
from collector.interfaces import check_uplinks
from collector.netlink import Netlink
from collector.preflight import PreflightError, check_this_process
from collector.settings import SettingsError, read_settings
from standalone.address import UsageError
from standalone.settings import child_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def check(*, collectors: Iterable[Mapping[str, str]], aggregator: Mapping[str, str]) -> None:
    """Judge the settings that the programs would be started with, their uplinks, and this process's rights here.

    Raises:
        UsageError: one of them would refuse to start.
    """
    try:
        for each in collectors:
            settings = read_settings(child_environment(dict(each)))
            check_this_process(enters_namespace=settings.netns is not None)
            with closing(Netlink(settings.netns)) as netlink:
                check_uplinks(netlink.list_links(), settings)
        AggregatorSettings.from_environment(child_environment(dict(aggregator)))
    except (AggregatorSettingsError, OSError, PreflightError, SettingsError) as error:
        raise UsageError(str(error)) from error
