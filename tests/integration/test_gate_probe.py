import time
from tests.integration.conftest import *
from segmentation_assets import checks
def test_x(published):
    p = published
    print(p.frame("select * from silver.segment_audits where not passed").to_string())
    p.execute("update gold.fct_transactions set transaction_amount = transaction_amount + 0.01 where transaction_key = (select min(transaction_key) from gold.fct_transactions where transaction_date >= '2025-09-10' and transaction_status='approved')")
    t=time.time(); r = p.run(NOVEMBER); print("RUN", time.time()-t, r.success)
    for e in r.get_asset_check_evaluations():
        if not e.passed: print(e.check_name, e.partition, e.severity, e.description)
    for e in r.all_events:
        if e.event_type_value in ("STEP_FAILURE","STEP_SKIPPED","STEP_SUCCESS","RUN_FAILURE","PIPELINE_FAILURE"): print(e.event_type_value, e.step_key, e.message)
    t=time.time(); r = p.run(NOVEMBER, select=["gold/"+t for t in TABLES]+["gold/segment_explanations"]); print("SEP", time.time()-t, r.success)
    for e in r.all_events:
        if e.event_type_value in ("STEP_FAILURE",): print(e.step_failure_data.error.cls_name, e.step_failure_data.user_failure_data, e.step_failure_data.error.to_string()[:3000])
    t=time.time(); r = p.run(NOVEMBER, select=["gold/customer_segment_history"]); print("SEP1", time.time()-t, r.success)
    t=time.time(); r = p.dbt(NOVEMBER, select=PUBLISHED, arguments=("--indirect-selection","buildable")); print("DBT", time.time()-t, r)
    t=time.time(); r = p.dbt(NOVEMBER, select=PUBLISHED, arguments=NO_TESTS); print("DBT", time.time()-t, r)
    [print(x.status, x.partition, x.event and x.event.timestamp) for x in p.instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(checks.CANDIDATE, 'rollup_equals_the_facts'), limit=10)]
import dagster as dg
