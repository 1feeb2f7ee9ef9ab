"""Work in a few threads: in order, and never much of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from backups.pooled import in_order


def test_results_come_in_the_order_of_the_items() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert list(in_order(pool, lambda n: n * n, range(50), ahead=4)) == [n * n for n in range(50)]


def test_no_more_items_are_taken_than_may_be_under_way() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, str, items(), ahead=5)
        assert next(results) == "0"
        assert taken == 6


def test_an_error_comes_out_where_its_result_would() -> None:
    def fail_at_two(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, fail_at_two, range(5), ahead=2)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            next(results)
