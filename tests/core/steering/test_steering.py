import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from core.recommenders.base import LinearScorer, rank
from core.sae.model import SAE, SAEConfig
from core.steering.steering import MAX_VALUE, Edit, Steering, deltas, parse_edits, steer

D_IN, D_SAE, N_ITEMS = 8, 20, 50
GATES = ("relu", "topk", "threshold")
NORMALISATIONS = ("none", "global", "sample", "unit")

every_sae = pytest.mark.parametrize(
    ("gate", "normalisation", "centred"),
    [(gate, kind, centred) for gate in GATES for kind in NORMALISATIONS for centred in (True, False)],
)


def make_sae(gate="relu", normalisation="none", centred=True, seed=0):
    rng = np.random.default_rng(seed)
    W_enc, b_enc, W_dec, b_dec = (
        rng.normal(size=s).astype(np.float32) for s in ((D_IN, D_SAE), (D_SAE,), (D_SAE, D_IN), (D_IN,))
    )
    config = SAEConfig(D_IN, D_SAE, gate, 4 if gate == "topk" else 0, normalisation, centred)
    return SAE(config, W_enc, b_enc, W_dec, b_dec, np.full(D_SAE, 0.5, np.float32), global_scale=2.5)


def viewers(n=6, seed=1):
    return (3 * np.random.default_rng(seed).normal(size=(n, D_IN)) + 1).astype(np.float32)


def decode(acts, u, sae):
    """Give the decoded vector on the scale of `u`: what steering must differ by."""
    normalised = sae.normalise(u)
    return (acts @ sae.W_dec + sae.b_dec) * normalised.scale + normalised.shift


EDITS = Steering((Edit(3, "add", 2.0), Edit(7, "scale", 0.0), Edit(11, "set", 1.5), Edit(0, "add", -4.0)))


# --- laws -----------------------------------------------------------------------------------------------------------


@every_sae
def test_no_edits_give_exactly_the_same_embedding(gate, normalisation, centred):
    u = viewers()
    u[0, 0] = -0.0
    assert steer(u, Steering(), make_sae(gate, normalisation, centred)).tobytes() == u.tobytes()


@every_sae
def test_edits_that_change_nothing_give_exactly_the_same_embedding(gate, normalisation, centred):
    sae, u = make_sae(gate, normalisation, centred), viewers(1)
    acts = sae.encode(u)[0]
    firing, silent = np.flatnonzero(acts > 0)[:2].tolist(), int(np.flatnonzero(acts == 0)[0])
    idle = Steering(
        (Edit(firing[0], "set", float(acts[firing[0]])), Edit(firing[1], "scale", 1.0), Edit(silent, "add", 0.0))
    )
    assert steer(u, idle, sae).tobytes() == u.tobytes()


@every_sae
def test_steering_adds_exactly_the_difference_of_the_decoded_codes(gate, normalisation, centred):
    sae, u = make_sae(gate, normalisation, centred), viewers()
    acts = sae.encode(u)
    edited = acts.copy()
    edited[:, 3] += 2
    edited[:, 7] = 0
    edited[:, 11] = 1.5
    edited[:, 0] -= 4
    expected = u + decode(edited, u, sae) - decode(acts, u, sae)
    np.testing.assert_allclose(steer(u, EDITS, sae), expected, rtol=1e-4, atol=1e-4)


@every_sae
def test_what_the_sae_cannot_explain_is_kept(gate, normalisation, centred):
    sae, u = make_sae(gate, normalisation, centred), viewers()
    error = u - decode(sae.encode(u), u, sae)
    edited = sae.encode(u) + 0
    edited[:, [3, 7, 11, 0]] += deltas(sae.encode(u), EDITS)[:, [0, 1, 2, 3]]
    np.testing.assert_allclose(steer(u, EDITS, sae) - decode(edited, u, sae), error, rtol=1e-3, atol=1e-3)


def test_steering_many_viewers_equals_steering_each_alone():
    sae, u = make_sae("topk", "sample"), viewers()
    together = steer(u, EDITS, sae)
    for row in range(len(u)):
        np.testing.assert_allclose(together[row], steer(u[row : row + 1], EDITS, sae)[0], rtol=1e-5, atol=1e-5)


def test_the_order_of_edits_does_not_matter():
    sae, u = make_sae("relu", "global"), viewers()
    backwards = Steering(EDITS.edits[::-1])
    np.testing.assert_allclose(steer(u, EDITS, sae), steer(u, backwards, sae), rtol=1e-5, atol=1e-5)


def test_steering_changes_neither_the_callers_array_nor_the_sae():
    sae, u = make_sae("topk", "sample"), viewers()
    before, weights = u.copy(), {name: w.copy() for name, w in sae.to_arrays().items()}
    steered = steer(u, EDITS, sae)
    steer(u, Steering(), sae)[:] = 0
    steered[:] = 0
    np.testing.assert_array_equal(u, before)
    for name, weight in sae.to_arrays().items():
        np.testing.assert_array_equal(weight, weights[name])


def test_an_edit_beyond_the_gate_is_not_gated_away():
    # Five neurons of a k = 4 code: the edited one stays beside the four.
    sae, u = make_sae("topk"), viewers(1)
    silent = int(np.flatnonzero(sae.encode(u)[0] == 0)[0])
    steered = steer(u, Steering((Edit(silent, "set", 3.0),)), sae)
    np.testing.assert_allclose(steered - u, 3 * sae.W_dec[[silent]], rtol=1e-4, atol=1e-4)


# --- hand-made numbers ----------------------------------------------------------------------------------------------


def identity_sae(normalisation="none", **changes):
    eye, zeros = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    return SAE(SAEConfig(3, 3, "relu", 0, normalisation), eye, zeros, eye, zeros, **changes)


def test_the_three_modes_on_hand_made_activations():
    acts = np.array([[2.0, 0.0], [4.0, 1.0]], np.float32)
    steering = Steering((Edit(0, "scale", 0.5), Edit(1, "set", 3.0)))
    assert deltas(acts, steering).tolist() == [[-1, 3], [-2, 2]]
    assert deltas(acts, Steering((Edit(0, "add", -5.0),))).tolist() == [[-5], [-5]]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit(0, "add", 2.0), [3, 2, -1]),
        (Edit(1, "scale", 0.0), [1, 0, -1]),
        (Edit(1, "set", 5.0), [1, 5, -1]),
        (Edit(2, "add", 1.0), [1, 2, 0]),  # a silent neuron moves from what the SAE does not see
        (Edit(0, "set", -1.0), [-1, 2, -1]),  # below zero is allowed
    ],
)
def test_each_mode_moves_the_embedding_by_hand_made_numbers(edit, expected):
    u = np.array([[1.0, 2.0, -1.0]], np.float32)
    assert steer(u, Steering((edit,)), identity_sae()).tolist() == [expected]


def test_an_edit_is_on_the_scale_of_the_viewer():
    u = np.array([[3.0, 0.0, 4.0]], np.float32)  # of length 5: one unit of the code is five of the embedding
    steered = steer(u, Steering((Edit(1, "add", 2.0),)), identity_sae("unit"))
    np.testing.assert_allclose(steered, [[3, 10, 4]], rtol=1e-6)
    steered = steer(u, Steering((Edit(1, "add", 2.0),)), identity_sae("global", global_scale=0.5))
    np.testing.assert_allclose(steered, [[3, 1, 4]], rtol=1e-6)


# --- planted truth --------------------------------------------------------------------------------------------------


def test_promoting_a_planted_concept_raises_exactly_its_items_and_suppressing_lowers_them():
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(D_IN, D_IN)))[0].astype(np.float32)  # eight concepts, at right angles
    concept = np.arange(N_ITEMS) % D_IN
    scorer = LinearScorer(directions[concept], np.zeros(N_ITEMS, np.float32))
    zeros = np.zeros(D_IN, np.float32)
    sae = SAE(SAEConfig(D_IN, D_IN, "relu"), directions.T.copy(), zeros, directions, zeros)
    u = (directions[:3].sum(axis=0) + 0.01 * rng.normal(size=D_IN)).astype(np.float32)[None]

    def scores(value):
        return (steer(u, Steering((Edit(5, "add", value),)), sae) @ scorer.V.T)[0]

    before = (u @ scorer.V.T)[0]
    np.testing.assert_allclose(scores(2.0) - before, np.where(concept == 5, 2.0, 0.0), atol=1e-5)
    assert not np.isin(np.flatnonzero(concept == 5), rank(before, 6)).any()
    assert set(rank(scores(2.0), 6)[0].tolist()) == set(np.flatnonzero(concept == 5).tolist())
    np.testing.assert_allclose(scores(-1.0) - before, np.where(concept == 5, -1.0, 0.0), atol=1e-5)


# --- edits that cannot be -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, True, "2", None, 1j, 10**400, MAX_VALUE * 1.001, -MAX_VALUE * 2]
)
def test_a_value_that_is_no_number_or_too_large_is_refused(value):
    with pytest.raises(ConfigError) as caught:
        Edit(3, "add", value)
    assert "neuron 3" in caught.value.problem
    assert caught.value.fix


@pytest.mark.parametrize("neuron", [-1, True, 1.0, "1", None])
def test_a_neuron_that_is_no_index_is_refused(neuron):
    with pytest.raises(ConfigError, match="expected a whole number from 0"):
        Edit(neuron, "add", 1.0)


def test_an_unknown_mode_is_refused_and_the_near_one_named():
    with pytest.raises(ConfigError, match="did you mean 'scale'"):
        Edit(1, "scales", 1.0)


def test_two_edits_of_one_neuron_are_refused():
    with pytest.raises(ConfigError, match="Neuron 4 is edited twice"):
        Steering((Edit(4, "add", 1.0), Edit(5, "add", 1.0), Edit(4, "set", 1.0)))


def test_a_neuron_that_the_sae_does_not_have_is_refused_everywhere():
    steering = Steering((Edit(D_SAE, "add", 1.0),))
    with pytest.raises(ConfigError, match=f"no neuron {D_SAE}: this SAE has {D_SAE}, numbered 0 to {D_SAE - 1}"):
        steer(viewers(1), steering, make_sae())


def test_the_largest_edit_keeps_the_embedding_finite():
    edits = Steering(tuple(Edit(j, "add", MAX_VALUE) for j in range(D_SAE)))
    assert np.isfinite(steer(viewers(), edits, make_sae("relu", "sample"))).all()


def test_numpy_numbers_make_the_same_edit_as_plain_ones():
    edit = Edit(np.int64(3), "add", np.float32(2.0))
    assert edit == Edit(3, "add", 2.0)
    assert type(edit.neuron) is int and type(edit.value) is float


# --- text -----------------------------------------------------------------------------------------------------------

edits = st.builds(
    Edit, st.integers(0, 10**6), st.sampled_from(["add", "scale", "set"]), st.floats(-MAX_VALUE, MAX_VALUE)
)


@settings(max_examples=100, deadline=None)
@given(st.lists(edits, max_size=6, unique_by=lambda e: e.neuron))
def test_a_steering_comes_back_from_json_and_from_text(found):
    steering = Steering(tuple(found))
    assert Steering.from_json(steering.to_json()) == steering
    assert parse_edits([f"{e.neuron}={e.mode}:{e.value!r}" for e in found]) == steering


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "null",
        "{}",
        '{"edits": {}}',
        '{"edits": [], "more": 1}',
        '{"edits": [1]}',
        '{"edits": [{"neuron": 1, "mode": "add"}]}',
        '{"edits": [{"neuron": 1, "mode": "add", "value": 1, "x": 2}]}',
        '{"edits": [{"neuron": 1, "mode": "add", "value": NaN}]}',
        '{"edits": [{"neuron": 1, "mode": ["add"], "value": 1}]}',
        '{"edits": [{"neuron": 1.5, "mode": "add", "value": 1}]}',
        '{"edits": [{"neuron": 1, "mode": "add", "value": true}]}',
        '{"edits": [{"neuron": 1, "mode": "add", "value": 1}, {"neuron": 1, "mode": "set", "value": 1}]}',
        "[" * 100_000,
        '{"edits": ' + "1" * 5000 + "}",
        '{"edits": [{"neuron": 1, "mode": "add", "value": 1' + "0" * 400 + "}]}",
    ],
)
def test_json_that_is_no_steering_is_refused(text):
    with pytest.raises(ConfigError):
        Steering.from_json(text)


def test_edits_as_people_write_them():
    assert parse_edits(["17=2.0", "3=scale:0", "5=set:-1", "8=-0.5"]) == Steering(
        (Edit(17, "add", 2.0), Edit(3, "scale", 0.0), Edit(5, "set", -1.0), Edit(8, "add", -0.5))
    )
    assert parse_edits([]) == Steering()


@pytest.mark.parametrize(
    "text", ["", "17", "17=", "=2", "a=2", "1.5=2", "17=two", "17=add:", "17:2", "17=add:2:3", "17=:2", "-1=2", "1=nan"]
)
def test_a_text_that_is_no_edit_is_refused(text):
    with pytest.raises(ConfigError):
        parse_edits([text])
