from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Package",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200, unique=True)),
                ("files", models.PositiveIntegerField(default=0)),
                ("lines", models.PositiveIntegerField(default=0)),
                ("functions", models.PositiveIntegerField(default=0)),
                ("classes", models.PositiveIntegerField(default=0)),
                ("imports", models.PositiveIntegerField(default=0)),
                (
                    "longest_function",
                    models.CharField(blank=True, default="", help_text="file:line name", max_length=500),
                ),
                ("longest_function_lines", models.PositiveIntegerField(default=0)),
                ("unreadable", models.PositiveIntegerField(default=0, help_text="Files that are not valid Python.")),
                ("indexed_at", models.DateTimeField(auto_now=True)),
                ("task_uuid", models.UUIDField(help_text="The task that wrote this row.", null=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
    ]
