{{ audience('core_retention') }}
