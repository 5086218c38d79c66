// Starts every viewer of the page; one that cannot start leaves its still pictures where they are and says why.
import { startViewer } from './viewer.js'

for (const root of document.querySelectorAll('.viewer')) {
  startViewer(root).catch((error) => {
    root.classList.remove('live')
    root.querySelector('.viewer-why').textContent = `Still pictures, because the viewer did not start: ${error.message}`
  })
}
