{{ audience('onboarding_acceleration') }}
