{{ audience('churn_prevention') }}
