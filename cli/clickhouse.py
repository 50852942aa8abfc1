"""SQL to rows: the one file of the command that knows clickhouse_connect."""

import logging
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from cli.complaint import Complaint
from cli.settings import Settings

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client


logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)  # it says on its own what a Complaint says better


_TELLING: Final = (
    r"Code: \d+\. .*?(?=: While |\.? [Ii]n scope |\(for url|$)|Failed to resolve '\S+'|\[Errno \d+\] [\w ]+|timed out"
)


class Answer(NamedTuple):
    """A result as it came: one name a column, one tuple a row."""

    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


class ClickHouse:
    """A connection that answers queries. Raises: Complaint when the server is away or refuses."""

    def __init__(self, settings: Settings) -> None:
        self._where = settings.clickhouse
        self._database = settings.clickhouse_database
        try:
            self._client: Client = clickhouse_connect.get_client(
                dsn=settings.clickhouse,
                username=settings.clickhouse_user,
                password=settings.clickhouse_password,
                database=settings.clickhouse_database,
                connect_timeout=5,
            )
        except (ClickHouseError, OSError) as error:
            raise self._complaint(
                error,
                f"ClickHouse does not answer at {self._where} ({_short(error)}): is it running? "
                "KNI_CLICKHOUSE says where it is",
            ) from error

    def ask(self, sql: str, parameters: dict[str, object] | None = None) -> Answer:
        """The whole result of one query; parameters fill its {name:Type} places."""
        try:
            result = self._client.query(sql, parameters=parameters or {})
        except (ClickHouseError, OSError) as error:
            raise self._complaint(error, f"ClickHouse at {self._where} refused the query: {_short(error)}") from error
        return Answer(tuple(result.column_names), [tuple(row) for row in result.result_rows])

    def _complaint(self, error: Exception, otherwise: str) -> Complaint:
        """What can be done about an error, where its code tells."""
        code = re.search(r"Code: (\d+)\.", str(error))
        match code[1] if code else "":
            case "81":
                return Complaint(
                    f"ClickHouse at {self._where} has no database {self._database}: "
                    "make it with `kubenetinsight aggregator schema`, or name another in KNI_CLICKHOUSE_DATABASE"
                )
            case "516":
                return Complaint(
                    f"ClickHouse at {self._where} does not let this user in ({_short(error)}): "
                    "set KNI_CLICKHOUSE_USER and KNI_CLICKHOUSE_PASSWORD_FILE"
                )
            case "60":
                return Complaint(
                    f"{otherwise}; if it is a table of KubeNetInsight: KNI_CLICKHOUSE_DATABASE is {self._database}, "
                    "and `kubenetinsight aggregator schema` makes what is missing"
                )
        return Complaint(otherwise)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    telling = re.search(_TELLING, text)
    return (telling.group(0) if telling else text)[:400].strip()
