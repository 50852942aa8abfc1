"""Commands to answers: summary, connections, edges, flows, sql and status."""

import argparse
import sys

from cli import completeness, followed, kafka, queries, summary_queries
from cli.clickhouse import Answer, ClickHouse
from cli.complaint import Complaint
from cli.output import show, write_json
from cli.settings import Settings
from schemas import topics


def summary(options: argparse.Namespace, settings: Settings) -> int:
    """Totals, protocols, sizes, top edges, latency, drops and how complete all that is."""
    database = ClickHouse(settings)
    for question in summary_queries.SUMMARY:
        answer = database.ask(question.sql, _parameters(options))
        if options.output == "json":
            write_json(answer, sys.stdout, extra=[("section", question.title)])
        elif question is summary_queries.COMPLETENESS and options.output == "table":
            show(completeness.to_words(answer), question.title, form="table")
        else:
            show(answer, question.title, form=options.output)
    return 0


def connections(options: argparse.Namespace, settings: Settings) -> int:
    """Conversations with ports, state, duration, both directions and RTT, newest first."""
    return _answer(queries.CONNECTIONS, options, settings=settings)


def edges(options: argparse.Namespace, settings: Settings) -> int:
    """Workload to workload, with latency."""
    return _answer(queries.EDGES, options, settings=settings)


def flows(options: argparse.Namespace, settings: Settings) -> int:
    """Flow records: the newest stored ones, or with --follow what comes over the topic from now on."""
    if not options.follow:
        return _answer(queries.FLOWS, options, settings=settings)
    for value in kafka.follow(settings.kafka, topics.FLOWS):
        answer = followed.to_answer(value, now_ns=settings.now_ns())
        if answer.rows:
            show(answer, "", form=options.output)
            sys.stdout.flush()
    return 0


def sql(options: argparse.Namespace, settings: Settings) -> int:
    """Any query of one's own."""
    query = " ".join(options.query)
    if not query.strip():
        raise Complaint("the query is empty: write one, such as 'SELECT count() FROM flows'")
    show(ClickHouse(settings).ask(query), "", form=options.output)
    return 0


def status(options: argparse.Namespace, settings: Settings) -> int:
    """What each collector watches (interface, kind, hook), how far behind its rows are, and what it lost."""
    show(_attachments(kafka.read_inventories(settings.kafka)), "Attached", form=options.output)
    show(ClickHouse(settings).ask(queries.NODES.sql), queries.NODES.title, form=options.output)
    return 0


def _answer(question: queries.Question, options: argparse.Namespace, *, settings: Settings) -> int:
    answer = ClickHouse(settings).ask(question.sql, _parameters(options))
    show(answer, question.title, form=options.output)
    return 0


def _parameters(options: argparse.Namespace) -> dict[str, object]:
    return {"since": options.since, "limit": options.limit, "namespace": options.namespace}


def _attachments(inventories: list[dict[str, object]]) -> Answer:
    """One row an interface, with the hook of each direction."""
    hooks: dict[tuple[object, ...], dict[object, object]] = {}
    for inventory in inventories:
        interfaces = inventory.get("interfaces")
        if not isinstance(interfaces, list):
            raise Complaint(f"{topics.COLLECTORS}: the inventory of {inventory.get('node')} names no interfaces")
        for each in interfaces:
            place = (inventory["node"], each["name"], each["kind"], inventory.get("version", ""))
            hooks.setdefault(place, {})[each["direction"]] = each["hook"]
    rows: list[tuple[object, ...]] = [
        (node, name, kind, by_direction.get("ingress", ""), by_direction.get("egress", ""), version)
        for (node, name, kind, version), by_direction in hooks.items()
    ]
    return Answer(("node", "interface", "kind", "ingress", "egress", "version"), rows)
