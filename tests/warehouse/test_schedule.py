"""When the schedule fires and which month it asks for.

Locks out: the month that has only just begun, a month early or late around a daylight-saving change, a tick that fires
twice or not at all on the night the clocks go back.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator  # what the daemon iterates with

from segmentation_assets.definitions import build_defs
from segmentation_assets.months import TIME_ZONE

NEW_YORK = ZoneInfo(TIME_ZONE)
Asked = Callable[[datetime], str | None]


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return build_defs().get_repository_def()


@pytest.fixture(scope="module")
def schedule(repository: dg.RepositoryDefinition) -> dg.ScheduleDefinition:
    (found,) = repository.schedule_defs
    return found


def ticks(schedule: dg.ScheduleDefinition, start: datetime, count: int) -> list[datetime]:
    """The daemon's own cron iteration, in UTC."""
    found = schedule_execution_time_iterator(start.timestamp(), schedule.cron_schedule, schedule.execution_timezone)
    return [tick.astimezone(UTC) for tick in islice(found, count)]


@pytest.fixture(scope="module")
def asked_month(repository: dg.RepositoryDefinition, schedule: dg.ScheduleDefinition) -> Iterator[Asked]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield lambda tick: month_of_the_one_run(
            schedule,
            dg.build_schedule_context(instance, scheduled_execution_time=tick, repository_def=repository),
        )


def month_of_the_one_run(schedule: dg.ScheduleDefinition, context: dg.ScheduleEvaluationContext) -> str | None:
    requests = schedule.evaluate_tick(context).run_requests
    assert requests is not None and len(requests) == 1
    # Equal, so that a tick that is evaluated twice starts one run.
    assert requests[0].run_key == requests[0].partition_key
    return requests[0].partition_key


@pytest.mark.parametrize(
    ("local", "month"),
    [
        (datetime(2025, 12, 1, 2), "2025-11-01"),
        (datetime(2026, 1, 1, 2), "2025-12-01"),
        (datetime(2026, 3, 1, 2), "2026-02-01"),  # clocks go forward on the 8th
        (datetime(2026, 4, 1, 2), "2026-03-01"),
        (datetime(2026, 11, 1, 2), "2026-10-01"),  # clocks go back at 02:00 this very night
        (datetime(2026, 12, 1, 2), "2026-11-01"),
        (datetime(2028, 3, 1, 2), "2028-02-01"),  # after a leap day
    ],
)
def test_a_tick_asks_for_the_month_just_closed(local: datetime, month: str, asked_month: Asked) -> None:
    assert asked_month(local.replace(tzinfo=NEW_YORK)) == month


def test_the_tick_in_utc_asks_for_the_same_month(asked_month: Asked) -> None:
    # The daemon hands over whatever zone it likes; 07:00Z on the first is still the first in New York.
    assert asked_month(datetime(2025, 12, 1, 7, tzinfo=UTC)) == "2025-11-01"


def test_it_fires_once_on_the_night_the_clocks_go_back(schedule: dg.ScheduleDefinition, asked_month: Asked) -> None:
    found = ticks(schedule, datetime(2026, 10, 15, tzinfo=UTC), 2)
    assert found == [datetime(2026, 11, 1, 7, tzinfo=UTC), datetime(2026, 12, 1, 7, tzinfo=UTC)]
    assert asked_month(found[0]) == "2026-10-01"


def test_every_tick_of_seven_years_asks_for_the_next_month(schedule: dg.ScheduleDefinition, asked_month: Asked) -> None:
    found = ticks(schedule, datetime(2025, 1, 15, tzinfo=UTC), 84)
    assert all(tick.astimezone(NEW_YORK).day == 1 for tick in found)
    assert {tick.astimezone(NEW_YORK).hour for tick in found} == {2}
    assert {tick.hour for tick in found} == {6, 7}, "winter and summer time"
    months = [asked_month(tick) for tick in found]
    assert months[0] == "2025-01-01"
    for before, after in pairwise(months):
        year, month = int(str(before)[:4]), int(str(before)[5:7])
        assert after == f"{year + month // 12}-{month % 12 + 1:02d}-01"


def test_it_is_of_the_monthly_job_at_two_in_new_york(schedule: dg.ScheduleDefinition) -> None:
    assert schedule.execution_timezone == "America/New_York"
    assert schedule.cron_schedule == "0 2 1 * *"
    assert schedule.job_name == "monthly_segmentation"
