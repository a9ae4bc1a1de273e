{{ audience('everyday_rewards') }}
