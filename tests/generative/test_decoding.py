import itertools

import pytest
import torch

from genmatter.generative.decoding import Choice, Ends, beam, draw

ENDS = Ends(start=1, end=2, pad=0, longest=4)
TOKENS = 5


def chain(seed: int = 0, rows: int = 1):
    """A random law of the next token given the last two, a table for each row."""
    g = torch.Generator().manual_seed(seed)
    table = 2 * torch.randn(rows, TOKENS, TOKENS, TOKENS, generator=g)
    table[..., [0, 1]] = -torch.inf

    def step(tokens, state):
        row, before = state
        return table[row, before, tokens], (row, tokens)

    start = torch.arange(rows), torch.ones(rows, dtype=torch.long)
    return step, start


def log_prob(step, start, row, sequence):
    state, last, total = tuple(s[row : row + 1] for s in start), torch.tensor([1]), 0.0
    for token in sequence:
        logits, state = step(last, state)
        total += float(logits.log_softmax(-1)[0, token])
        last = torch.tensor([token])
    return total


def everything():
    """All sequences that end, and those that are given up."""
    for n in range(ENDS.longest):
        for head in itertools.product((3, 4), repeat=n):
            yield (*head, 2)
    yield from itertools.product((3, 4), repeat=ENDS.longest)


def written(row):
    row = row.tolist()
    return tuple(row[: row.index(2) + 1] if 2 in row else row)


def test_draws_have_the_law_of_the_model():
    step, start = chain()
    torch.manual_seed(0)
    n = 20_000
    many = tuple(s.expand(n) for s in start)
    found = draw(step, many, ENDS, Choice())
    shares = {s: 0 for s in everything()}
    for row in found:
        shares[written(row)] += 1
    for sequence, count in shares.items():
        p = torch.tensor(log_prob(step, start, 0, sequence)).exp()
        assert abs(count / n - p) < 5 * (p * (1 - p) / n) ** 0.5 + 1e-9


def test_what_has_no_probability_is_never_drawn():
    torch.manual_seed(0)
    logits = torch.full((100_000, 7), -torch.inf)
    logits[:, 2], logits[:, 4] = 0.0, -7.0
    found = Choice()(logits)
    assert {*found.tolist()} == {2, 4}
    assert abs(int((found == 4).sum()) - 91) < 40
    assert (Choice()(logits * torch.nan) < 7).all()


def test_behind_the_end_there_is_nothing():
    step, start = chain(1, rows=300)
    torch.manual_seed(1)
    for row in draw(step, start, ENDS, Choice()).tolist():
        if 2 in row:
            assert set(row[row.index(2) + 1 :]) <= {0}
        else:
            assert 0 not in row


@pytest.mark.parametrize("seed", range(8))
def test_a_wide_beam_finds_the_likeliest_of_all_sequences(seed):
    step, start = chain(seed, rows=3)
    found = beam(step, start, ENDS, width=40)
    for row in range(3):
        best = max(everything(), key=lambda s: log_prob(step, start, row, s))
        assert written(found[row]) == best


def test_a_beam_of_one_is_greedy():
    step, start = chain(3, rows=50)
    a, b = beam(step, start, ENDS, width=1), draw(step, start, ENDS, Choice(0.0))
    for x, y in zip(a, b, strict=True):
        assert written(x) == written(y)


def test_wider_beams_are_no_worse_on_average():
    step, start = chain(5, rows=200)
    means = []
    for width in (1, 3, 40):
        found = beam(step, start, ENDS, width)
        scores = [log_prob(step, start, r, written(x)) for r, x in enumerate(found)]
        means.append(sum(scores) / len(scores))
    assert means[0] < means[1] <= means[2] + 1e-9


def test_choices_keep_the_likeliest():
    p = torch.tensor([[0.4, 0.1, 0.3, 0.2]])
    kept = lambda choice: choice.kept(p.log()).isfinite()[0].tolist()
    assert kept(Choice(top_k=2)) == [True, False, True, False]
    assert kept(Choice(top_k=9)) == [True] * 4
    assert kept(Choice(top_p=0.4)) == [True, False, False, False]
    assert kept(Choice(top_p=0.41)) == [True, False, True, False]
    assert kept(Choice(top_p=0.95)) == [True] * 4
    assert kept(Choice(top_p=1e-9)) == [True, False, False, False]
    assert kept(Choice(top_k=3, top_p=0.5)) == [True, False, True, False]


def test_temperature_sharpens_and_flattens():
    p = torch.tensor([0.5, 0.3, 0.2])
    torch.manual_seed(2)
    for temperature in (0.5, 1.0, 3.0):
        found = Choice(temperature)(p.log().expand(40_000, -1))
        shares = found.bincount(minlength=3) / 40_000
        expected = p ** (1 / temperature)
        torch.testing.assert_close(shares, expected / expected.sum(), atol=0.012, rtol=0)
    assert (Choice(0.0)(p.log().expand(9, -1)) == 0).all()


def test_leaving_rows_out_changes_no_other_row():
    """Greedy sequences of many rows are those of each row alone."""
    step, start = chain(7, rows=40)
    together = draw(step, start, ENDS, Choice(0.0))
    for row in range(40):
        alone = draw(step, tuple(s[row : row + 1] for s in start), ENDS, Choice(0.0))
        assert written(alone[0]) == written(together[row])
