{{ audience('premium_rewards') }}
