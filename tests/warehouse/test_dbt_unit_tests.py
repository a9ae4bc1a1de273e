"""The unit tests beside the models, which runs of the pipeline leave out: they test the SQL, not the data."""

import json
from datetime import date

from segmentation_assets.sources import synthetic
from tests.support.warehouse_fixture import Pipeline

MONTH = date(2026, 10, 1)


def test_unit_tests_of_the_models_pass(pipeline: Pipeline) -> None:
    with pipeline.connection() as connection:
        synthetic.build(connection, "gold", customers=300, first_month=date(2026, 3, 1), last_month=MONTH)
    # The inputs' columns are read from the tables, so the models have to exist.
    pipeline.dbt(MONTH, arguments=("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"))
    succeeded, said = pipeline.dbt(MONTH, select="test_type:unit", command="test", artifacts=True)
    assert succeeded, said
    results = json.loads((pipeline.path.parent / "dbt" / "run_results.json").read_text())["results"]
    # The hook at the start of a run has a result too.
    statuses = [result["status"] for result in results if result["unique_id"].startswith("unit_test.")]
    assert len(statuses) >= 9
    assert set(statuses) == {"pass"}
