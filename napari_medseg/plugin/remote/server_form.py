"""The form of a server: its address, the token, the certificate, and a test of the connection."""

from collections.abc import Generator
from pathlib import Path

from pydantic import SecretStr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QFileDialog, QFormLayout, QLabel, QLineEdit, QVBoxLayout, QWidget

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.remote.address import DEFAULT_PORT
from napari_medseg.inference.remote.connecting import require_websockets
from napari_medseg.plugin.forms.form_dialog import MIN_WIDTH_PX, make_problem_label
from napari_medseg.plugin.widgets import theme
from napari_medseg.plugin.widgets.collapsible_section import make_row
from napari_medseg.plugin.widgets.worker import Worker
from napari_medseg.plugin.widgets.wrapped_label import WrappedLabel
from napari_medseg.workflow.remote.server_link import ServerCheck, check_server, get_address
from napari_medseg.workflow.remote.server_settings import ServerSettings, write_server

INTRODUCTION = (
    "Predictions, retraining and learning at Accept run on the server. It gets pixels and labels, and no names. "
    "If the link breaks, this computer goes on by itself."
)
TOKEN_TOOLTIP = (
    "Who runs the server gives it to you (medseg serve token add NAME).\n"
    "It is kept in a file that only you can read, and is written nowhere else"
)
CERTIFICATE_TOOLTIP = "The server's own certificate (PEM), if your system does not trust it already; else empty"


class ServerForm(QDialog):
    """Asks for a server and keeps it; `accepted` is emitted when it is kept.

    Parameters
    ----------
    settings
        What was chosen before.
    folder
        Where it is kept: the folder of the registry.
    """

    def __init__(self, settings: ServerSettings | None, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._folder = folder
        self._worker: Worker | None = None
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Remote: a server predicts and trains")
        self.setMinimumWidth(MIN_WIDTH_PX + 60)
        self.address = QLineEdit("" if settings is None else settings.address)
        self.address.setPlaceholderText(f"gpu.example.org:{DEFAULT_PORT}")
        self.token = QLineEdit("" if settings is None else settings.token.get_secret_value())
        self.token.setEchoMode(QLineEdit.EchoMode.Password)
        self.token.setToolTip(TOKEN_TOOLTIP)
        self.ca_file = QLineEdit("" if settings is None else settings.ca_file)
        self.ca_file.setPlaceholderText("only if the system does not trust it")
        self.ca_file.setToolTip(CERTIFICATE_TOOLTIP)
        self.result = WrappedLabel()
        self.result.setObjectName("medseg-muted")
        self._problem = make_problem_label()
        self._lay_out()

    @property
    def problem(self) -> str:
        """What is wrong; empty if nothing is."""
        return self._problem.text()

    def accept(self) -> None:
        """Keep the settings and close the window; show what is wrong with them instead."""
        try:
            settings = self._read()
            write_server(self._folder, settings)
        except MedSegError as error:
            self._show_problem(error)
        else:
            super().accept()

    def test_connection(self) -> None:
        """Ask the server once, in a thread, and show who it says that one is, its device, version and latency."""
        try:
            settings = self._read()
        except MedSegError as error:
            self._show_problem(error)
            return
        self._problem.setText("")
        self.result.setText("connecting …")
        self._test.setEnabled(False)
        worker = self._worker = Worker(_check(settings), self)
        worker.yielded.connect(self._show_check)
        worker.failed.connect(self._show_problem)
        worker.ended.connect(lambda: self._test.setEnabled(True))
        worker.start()

    def _read(self) -> ServerSettings:
        """Return what is typed in; raise `MedSegError` if it cannot be used."""
        require_websockets()
        address, token, ca_file = (field.text().strip() for field in (self.address, self.token, self.ca_file))
        if not address:
            raise MedSegError(
                f"the address is missing. Type the name of the server, such as gpu.example.org:{DEFAULT_PORT}."
            )
        if not token:
            raise MedSegError("the token is missing. Ask who runs the server (medseg serve token add NAME).")
        if ca_file and not Path(ca_file).expanduser().is_file():
            raise MedSegError(f"there is no file {ca_file}. Choose the certificate of the server, or leave it empty.")
        kept = str(Path(ca_file).expanduser().absolute()) if ca_file else ""
        settings = ServerSettings(address=address, token=SecretStr(token), ca_file=kept)
        get_address(settings)
        return settings

    def _show_check(self, check: ServerCheck) -> None:
        device = f" on {check.device}" if check.device else "; its device is still loading"
        user = f"you are {check.user}" if check.user else "the token is valid"
        self.result.setText(
            f"Connected to {check.host}: {user}{device}; version {check.program}, {check.latency_ms:.0f} ms away."
        )

    def _show_problem(self, error: MedSegError) -> None:
        self.result.setText("")
        self._problem.setText(str(error))

    def _choose_file(self) -> None:
        if file := QFileDialog.getOpenFileName(
            self, "Certificate of the server (PEM)", filter="PEM (*.pem *.crt *.cer)"
        )[0]:
            self.ca_file.setText(file)

    def _lay_out(self) -> None:
        introduction = WrappedLabel()
        introduction.setText(INTRODUCTION)
        fields = QFormLayout()
        fields.addRow("Address", self.address)
        fields.addRow("Token", self.token)
        choose = theme.make_button("Choose…", CERTIFICATE_TOOLTIP)
        choose.clicked.connect(self._choose_file)
        fields.addRow("Certificate", make_row(self.ca_file, choose, stretch=0))
        self._test = theme.make_button("Test connection", "Connect once, and change nothing")
        self._test.clicked.connect(self.test_connection)
        self.save_button = theme.make_button("Use this server", "", main=True)
        self.save_button.clicked.connect(self.accept)
        cancel = theme.make_button("Cancel", "Close this window and change nothing")
        cancel.clicked.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(introduction)
        layout.addLayout(fields)
        for label in (self.result, self._problem):
            layout.addWidget(label)
        layout.addStretch(1)
        layout.addWidget(make_row(self._test, QLabel(""), cancel, self.save_button, stretch=1))


def _check(settings: ServerSettings) -> Generator[ServerCheck]:
    yield check_server(settings)
