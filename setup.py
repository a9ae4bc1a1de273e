"""Ships the dbt project inside the wheel, as segmentation_assets/dbt_models; the rest is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["segmentation_assets", "segmentation_assets.*"]),
        "segmentation_assets.dbt_models",
    ],
    package_dir={"segmentation_assets.dbt_models": "dbt_models"},
    package_data={
        "segmentation_assets": ["dagster_home/dagster.yaml", "report/templates/*.j2"],
        "segmentation_assets.dbt_models": [
            "*.yml", "macros/**/*.sql", "macros/**/*.md", "models/**/*.sql", "models/**/*.yml", "models/**/*.md",
            "rules/**/*.yml", "tests/**/*.sql",
        ]
    },
)  # fmt: skip
