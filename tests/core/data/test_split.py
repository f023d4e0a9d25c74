"""Splits: hand-made logs first, then the laws of every split."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.configs import from_dict
from core.data.dataset import Dataset, IdMap
from core.data.split import SplitConfig, split
from core.errors import ConfigError, DataError

NAMES = ["leave-n-out", "per-user-ratio", "held-out-users", "temporal-leave-one-out"]


def log_of(histories: list[list[int]], n_items: int = 50, timed: bool = True) -> Dataset:
    lengths = [len(h) for h in histories]
    user_index = np.repeat(np.arange(len(histories), dtype=np.int32), lengths)
    item_index = np.array([i for h in histories for i in h], dtype=np.int32)
    table = pd.DataFrame({"title": [f"film {i}" for i in range(n_items)]})
    times = np.concatenate([np.arange(n) for n in lengths]).astype(np.int64) if timed else None
    users, items = IdMap(range(len(histories)), "user"), IdMap(range(n_items), "item")
    return Dataset("hand-made", users, items, user_index, item_index, times, table)


def random_log(n_users: int = 120, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    return log_of([list(rng.permutation(50)[: rng.integers(1, 40)]) for _ in range(n_users)])


def test_temporal_leave_one_out_asks_for_the_last_item_and_leaves_short_histories_alone() -> None:
    parts = split(log_of([[3, 1, 2], [4, 0], [5], [6, 7, 8, 9]]), SplitConfig("temporal-leave-one-out"), seed=0)
    assert [t.tolist() for t in parts.targets] == [[2], [], [], [9]]
    assert [h.tolist() for h in parts.train.histories()] == [[3, 1], [4, 0], [5], [6, 7, 8]]
    assert parts.train.timestamps.tolist() == [0, 1, 0, 1, 0, 0, 1, 2]


def test_temporal_leave_one_out_without_times_says_what_to_do() -> None:
    with pytest.raises(DataError, match="needs timestamps"):
        split(log_of([[1, 2, 3]], timed=False), SplitConfig("temporal-leave-one-out"), seed=0)


def test_leave_n_out_holds_out_n_of_those_who_keep_enough() -> None:
    parts = split(log_of([list(range(6)), list(range(7)), list(range(30))]), SplitConfig(n_held_out=5), seed=0)
    assert [len(t) for t in parts.targets] == [0, 5, 5]
    assert [len(h) for h in parts.train.histories()] == [6, 2, 25]


def test_per_user_ratio_holds_out_the_rounded_share_and_at_least_one() -> None:
    parts = split(log_of([[1, 2], [1, 2, 3], list(range(10))]), SplitConfig("per-user-ratio", ratio=0.25), seed=0)
    assert [len(t) for t in parts.targets] == [0, 1, 2]  # rint(2.5) = 2


def test_held_out_users_are_new_to_the_recommender_and_known_at_evaluation() -> None:
    log = random_log()
    parts = split(log, SplitConfig("held-out-users"), seed=3)
    train_lengths, lengths = np.diff(parts.train.indptr), np.diff(log.indptr)
    assert len(parts.unseen_users) == round((lengths >= 3).sum() / 6)
    for user in range(log.n_users):
        if user in parts.unseen_users:
            assert train_lengths[user] == 0
            assert len(parts.targets[user]) == max(1, np.rint(0.2 * lengths[user]))
        else:
            assert np.array_equal(parts.train.history(user), log.history(user))
            assert len(parts.targets[user]) == 0


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 2**31))
def test_history_and_targets_are_the_log_in_two_parts(name: str, seed: int) -> None:
    log = random_log(40, seed)
    parts = split(log, SplitConfig(name), seed=seed)  # type: ignore[arg-type]
    for user in range(log.n_users):
        known, asked = parts.history.history(user), parts.targets[user]
        assert len(known) >= 1
        assert sorted([*known, *asked]) == sorted(log.history(user))
        assert not set(known) & set(asked)
    assert parts.train.users is log.users
    assert parts.train.items is log.items
    assert all(len(parts.targets[u]) for u in parts.unseen_users)
    assert np.array_equal(np.union1d(parts.seen_users, parts.unseen_users), np.arange(log.n_users))
    assert not np.intersect1d(parts.seen_users, parts.unseen_users).size


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_everything(name: str) -> None:
    log = random_log()
    first, again, other = (split(log, SplitConfig(name), seed=s) for s in (1, 1, 2))  # type: ignore[arg-type]
    assert first.train.fingerprint() == again.train.fingerprint()
    assert np.array_equal(first.unseen_users, again.unseen_users)
    assert not np.array_equal(first.unseen_users, other.unseen_users)
    if name != "temporal-leave-one-out":
        assert first.history.fingerprint() != other.history.fingerprint()


def test_every_item_of_a_history_is_held_out_equally_often() -> None:
    log = log_of([list(range(10))] * 4000)
    parts = split(log, SplitConfig(n_held_out=3), seed=0)
    shares = np.bincount(np.concatenate(parts.targets), minlength=10)[:10] / 4000
    assert np.abs(shares - 0.3).max() < 0.03  # four standard errors are 0.029


def test_unseen_viewers_have_the_history_lengths_of_all() -> None:
    lengths = np.repeat(np.arange(10, 40), 12)
    log = log_of([list(range(n)) for n in np.random.default_rng(0).permutation(lengths)])
    parts = split(log, SplitConfig(unseen_user_share=1 / 6), seed=5)
    drawn = np.diff(log.indptr)[parts.unseen_users]
    assert np.array_equal(np.sort(drawn), np.repeat(np.arange(10, 40), 2))  # 2 of the 12 of each length


def test_no_unseen_viewers_are_drawn_where_none_are_asked_for() -> None:
    assert split(random_log(), SplitConfig(unseen_user_share=0), seed=0).unseen_users.size == 0


def test_a_split_that_leaves_nobody_to_learn_from_is_refused() -> None:
    with pytest.raises(DataError, match="nobody is left to learn from") as error:
        split(log_of([list(range(6))] * 10), SplitConfig("held-out-users", unseen_user_share=0.99), seed=0)
    assert "unseen_user_share" in error.value.fix


def test_a_log_in_which_nobody_can_spare_an_item_is_refused() -> None:
    with pytest.raises(DataError, match="longest history has 2"):
        split(log_of([[1, 2], [3]]), SplitConfig(), seed=0)


@pytest.mark.parametrize(
    "values",
    [
        {"name": "leave-none-out"},
        {"n_held_out": 0},
        {"ratio": 1},
        {"unseen_user_share": 1},
        {"min_history": 0},
        {"name": "held-out-users", "unseen_user_share": 0},
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict) -> None:
    with pytest.raises(ConfigError):
        from_dict(SplitConfig, values)
