"""Whether schedules and sensors are on before anybody switches them: SEGMENTATION_AUTOSTART says so.

Off where the pipeline is a guest of another deployment. What somebody switched in the UI holds, whatever this says.
"""

import dagster as dg

from segmentation_assets.settings import Settings


def sensor_status(settings: Settings) -> dg.DefaultSensorStatus:
    return dg.DefaultSensorStatus.RUNNING if settings.autostart else dg.DefaultSensorStatus.STOPPED


def schedule_status(settings: Settings) -> dg.DefaultScheduleStatus:
    return dg.DefaultScheduleStatus.RUNNING if settings.autostart else dg.DefaultScheduleStatus.STOPPED
