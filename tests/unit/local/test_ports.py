from __future__ import annotations

import socket

from loader.local.ports import HOST, free_ports


def test_ports_are_different_and_free() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        with socket.socket() as listener:
            listener.bind((HOST, port))


def test_a_preferred_port_is_taken_if_it_is_free() -> None:
    (port,) = free_ports(1)
    assert free_ports(2, [port])[0] == port


def test_a_preferred_port_in_use_is_replaced() -> None:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        taken = listener.getsockname()[1]
        first, second = free_ports(2, [taken])
    assert taken not in (first, second)
    assert first != second
