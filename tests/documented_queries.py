"""Documents and dashboards to the SQL that they show, as a user would run it."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RANGE = "BETWEEN now() - INTERVAL 1 HOUR AND now() + INTERVAL 1 MINUTE"
STEP_SECONDS = 10

QUERIES = [
    query
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for query in re.findall(r"```sql\n(.*?)```", document.read_text(), re.DOTALL)
]
PANELS = [
    (panel["title"], target["rawSql"])
    for file in sorted((ROOT / "k8s/grafana/dashboards").glob("*.json"))
    for panel in json.loads(file.read_text())["panels"]
    for target in panel["targets"]
]


def expand(sql: str) -> str:
    """Fill in the datasource's macros as its documentation says: the last hour."""
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 {RANGE}", sql)
    sql = re.sub(r"\$__timeInterval\((\w+)\)", rf"toStartOfInterval(\1, INTERVAL {STEP_SECONDS} SECOND)", sql)
    sql = sql.replace("$__fromTime", "toDateTime(now() - INTERVAL 1 HOUR)")
    return sql.replace("$__interval_s", str(STEP_SECONDS))


def title_of(query: str) -> str:
    """A query's beginning, for a test's name."""
    return " ".join(query.split())[:50]
