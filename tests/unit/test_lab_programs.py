"""Tasks to what the lab's programs say on the wire and in their ledgers."""

import random
import socket
import threading
from pathlib import Path

import pytest

from lab.programs import exchange, names, tasks
from lab.programs.connections import family_of
from lab.programs.ledger import Conversation, Ledger, read
from lab.programs.work import Work

TARGET = tasks.Target("10.96.0.10", 53, "kube-system/dns")
ADDRESSES = {"api.shop.svc.cluster.local": ["10.96.0.30", "fd00:10:96::30"]}


@pytest.mark.parametrize(
    "task",
    [
        tasks.Serve(80, 0.1, TARGET),
        tasks.Serve(80, 0.1),
        tasks.Call(TARGET, 1.0, count=3),
        tasks.Dial(TARGET, 1.0),
        tasks.Upload(TARGET, 10, 20),
        tasks.ServeNames(53, ADDRESSES),
        tasks.Ask(TARGET, ["a", "b"], 1.0),
        tasks.Echo(7),
        tasks.Hoard(8),
        tasks.Send(TARGET, 1.0, wants_echo=True),
        tasks.Ping(TARGET, 1.0),
    ],
    ids=lambda task: type(task).__name__,
)
def test_a_program_is_the_same_after_its_way_to_another_process(task: tasks.Task) -> None:
    program = tasks.Program("shop/web", "/run/netns/x", "/run/ledger.json", (task,))
    line = tasks.to_line(program)

    assert "\n" not in line
    assert tasks.from_line(line) == program


def test_an_address_query_is_answered_with_the_bytes_that_resolvers_expect() -> None:
    query = names.to_query(0x1234, "api.shop.svc.cluster.local", record_type=1)
    answer = names.to_answer(query, ADDRESSES)

    assert answer == (
        bytes.fromhex("1234858000010001000000000361706904")
        + b"shop\x03svc\x07cluster\x05local\x00"
        # type A, class IN; then a pointer to the name, A, IN, 30 s, 4 bytes: 10.96.0.30
        + bytes.fromhex("00010001c00c000100010000001e00040a60001e")
    )


def test_an_ipv6_query_is_answered_with_the_ipv6_address() -> None:
    answer = names.to_answer(names.to_query(1, "api.shop.svc.cluster.local", record_type=28), ADDRESSES)

    assert answer.endswith(bytes.fromhex("001c00010000001e0010fd000010009600000000000000000030"))


@pytest.mark.parametrize(
    ("name", "record_type", "code"), [("nobody.shop.svc.cluster.local", 1, 3), ("api.shop.svc.cluster.local", 16, 0)]
)
def test_a_query_without_an_answer_gets_none_and_the_reason(name: str, record_type: int, code: int) -> None:
    answer = names.to_answer(names.to_query(1, name, record_type=record_type), ADDRESSES)

    assert (answer[3] & 15, answer[7]) == (code, 0)


@pytest.mark.parametrize(
    "query", [b"", bytes(11), bytes(12), b"\0" * 12 + b"\x3fabc", names.to_query(1, "a", record_type=1)[:-1]]
)
def test_what_is_no_query_is_an_error_and_not_an_answer(query: bytes) -> None:
    with pytest.raises(ValueError, match="not a DNS query"):
        names.to_answer(query, ADDRESSES)


def test_a_ledger_comes_back_from_its_file_as_it_was_counted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    ledger = Ledger(path)
    conversation = Conversation("client", "shop/web", "shop/api", "tcp", "10.96.0.30", 80)
    ledger.add(conversation, connections=1, bytes_sent=10)
    ledger.add(conversation, bytes_sent=5)
    ledger.write()

    (entry,) = read(path)
    assert entry.conversation == conversation
    assert dict(entry.counts) == {"connections": 1, "bytes_sent": 15}
    assert entry.counts["refused"] == 0
    assert [found.name for found in tmp_path.iterdir()] == ["ledger.json"]


def test_a_ledger_goes_on_from_what_its_file_says(tmp_path: Path) -> None:
    conversation = Conversation("client", "shop/web", "", "udp", "10.96.0.10", 53)
    for _ in range(2):
        ledger = Ledger(tmp_path / "ledger.json")
        ledger.add(conversation, datagrams_sent=3)
        ledger.write()

    assert read(tmp_path / "ledger.json")[0].counts["datagrams_sent"] == 6


def test_both_sides_of_an_exchange_count_the_same_bytes_and_learn_each_others_names() -> None:
    client, server = socket.socketpair()
    with client, server:
        sent = exchange.send_request(client, "shop/web-1", body=1000, wished=300)
        request = exchange.receive_request(server)
        answered = exchange.send_answer(server, "shop/api-2", size=request.wished)
        answer = exchange.receive_answer(client)

    assert (request.sender, request.size, request.wished) == ("shop/web-1", sent, 300)
    assert (answer.sender, answer.size) == ("shop/api-2", answered)


def test_a_connection_that_ends_inside_a_message_is_told_from_silence() -> None:
    client, server = socket.socketpair()
    with client, server:
        client.sendall(b"\0")
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(exchange.ClosedError):
            exchange.receive_request(server)


def test_a_caller_counts_a_failed_exchange_and_goes_on_with_a_new_connection(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    work = Work("shop/web", ledger, random.Random(1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()

        def serve() -> None:
            listener.accept()[0].close()
            connection, _ = listener.accept()
            with connection:
                exchange.receive_request(connection)
                exchange.send_answer(connection, "shop/api", size=3)
                connection.recv(1)

        serving = threading.Thread(target=serve)
        serving.start()
        caller = exchange.Caller(work, address)
        assert [caller.call(body=1, wished=3), caller.call(body=1, wished=3)] == [False, True]
        caller.close()
        serving.join(10)
    ledger.write()

    counts = {entry.conversation.peer: dict(entry.counts) for entry in read(tmp_path / "ledger.json")}
    assert counts[""] == {"failed": 1}
    assert counts["shop/api"]["connections"] == counts["shop/api"]["exchanges"] == 1


def test_the_family_of_an_address_is_in_its_text() -> None:
    assert (family_of("fd00::1"), family_of("10.0.0.1")) == (socket.AF_INET6, socket.AF_INET)
