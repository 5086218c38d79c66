// A viewer: the controls of the page on the one side, NiiVue on the other. The page holds all text but what a case says.
import { DRAG_MODE, Niivue, SHOW_RENDER, SLICE_TYPE } from '@niivue/niivue'
import { LoadedCase } from './case.js'

const VIEWS = {
  axial: { type: SLICE_TYPE.AXIAL, axis: 2 },
  coronal: { type: SLICE_TYPE.CORONAL, axis: 1 },
  sagittal: { type: SLICE_TYPE.SAGITTAL, axis: 0 },
  planes: { type: SLICE_TYPE.MULTIPLANAR, axis: 2 },
  render: { type: SLICE_TYPE.RENDER, axis: 2 },
}
const OPTIONS = {
  backColor: [0, 0, 0, 1],
  crosshairColor: [0.34, 0.71, 0.91, 0.8],
  fontColor: [0.85, 0.88, 0.91, 1],
  crosshairWidthUnit: 'mm',
  crosshairGap: 2,
  show3Dcrosshair: false,
  isOrientCube: false,
  dragAndDropEnabled: false,
  dragMode: DRAG_MODE.none,
  scrollRequiresFocus: true, // the wheel belongs to the page until the picture is clicked
  viewModeHotKey: '',
  clipPlaneHotKey: '',
  cycleClipPlaneHotKey: '',
  loadingText: '',
  logLevel: 'silent',
  multiplanarShowRender: SHOW_RENDER.NEVER,
}

/** Makes the still pictures of `root` a viewer; rejects where there is no WebGL 2. */
export async function startViewer(root) {
  if (!document.createElement('canvas').getContext('webgl2')) throw new Error('this browser offers no WebGL 2.')
  const data = JSON.parse(root.querySelector('.viewer-data').textContent)
  root.classList.add('live') // before attaching: a canvas that is not laid out has no size
  const viewer = new Viewer(root, data)
  await viewer.niivue.attachToCanvas(viewer.canvas)
  for (const [name, colours] of Object.entries(data.colours)) viewer.niivue.addColormap(name, colours)
  viewer.listen()
  await viewer.open(0)
}

class Viewer {
  constructor(root, data) {
    this.root = root
    this.data = data
    this.canvas = root.querySelector('canvas')
    this.niivue = new Niivue(OPTIONS)
    this.niivue.onLocationChange = (location) => this.moved(location)
  }

  control(name) {
    return this.root.querySelector(`[data-control=${name}]`)
  }

  chosen(name) {
    return this.root.querySelector(`[data-choice=${name}]:checked`).value
  }

  choose(name, value) {
    this.root.querySelector(`[data-choice=${name}][value=${value}]`).checked = true
  }

  listen() {
    const on = (element, event, act) => element.addEventListener(event, act)
    on(this.control('case'), 'change', (event) => this.open(Number(event.target.value)))
    on(this.control('channel'), 'change', (event) => this.openChannel(Number(event.target.value)))
    on(this.control('slice'), 'input', (event) => this.goTo(Number(event.target.value)))
    on(this.control('zoom'), 'input', () => this.zoom())
    on(this.control('label'), 'input', () => this.paint())
    on(this.control('blend'), 'input', () => {
      this.choose('image', 'blend')
      this.paint()
    })
    for (const radio of this.root.querySelectorAll('[data-choice=image]')) on(radio, 'change', () => this.paint())
    for (const radio of this.root.querySelectorAll('[data-choice=view]')) on(radio, 'change', () => this.look())
    this.canvas.parentElement.addEventListener('keydown', (event) => this.pressed(event), { capture: true })
  }

  async open(number) {
    const asked = (this.asked = Symbol('case')) // of two cases chosen quickly, the later one stays
    const loaded = await LoadedCase.of(this.data.cases[number], this.data.volumes)
    if (asked !== this.asked) return
    const nv = this.niivue
    while (nv.volumes.length) nv.removeVolume(nv.volumes[0])
    this.case = loaded
    this.control('channel').replaceChildren(...loaded.channels.map(({ name }, i) => new Option(name ?? '', i)))
    if (loaded.label) loaded.label.setColormapLabel(labelColours(loaded.facts.classes))
    this.describe()
    const flat = loaded.facts.dims === 2
    if (flat) this.choose('view', 'axial')
    nv.setRadiologicalConvention(loaded.facts.oriented)
    nv.opts.isOrientationTextVisible = loaded.facts.oriented
    nv.opts.crosshairWidth = flat ? 0 : 0.6
    nv.scene.pan2Dxyzmm = [0, 0, 0, 1]
    this.control('zoom').value = 1
    this.setImage()
    nv.addVolume(loaded.shown)
    if (loaded.label) nv.addVolume(loaded.label)
    nv.scene.crosshairPos = nv.mm2frac(loaded.facts.start_mm)
    this.zoom()
    this.look()
  }

  /** Shows another channel of the case; the view, the place and the label stay. */
  async openChannel(number) {
    const opened = this.case
    await opened.choose(number)
    if (this.case !== opened) return
    this.describe()
    this.paint()
    this.moved()
  }

  /** What the page says of a case beside the picture. */
  describe() {
    const { facts } = this.case
    const flat = facts.dims === 2
    this.root.querySelector('[data-says=before]').textContent = capital(facts.before.name)
    this.root.querySelector('[data-says=after]').textContent = capital(facts.after.name)
    for (const element of this.root.querySelectorAll('[data-only=volume]')) element.hidden = flat
    for (const element of this.root.querySelectorAll('[data-only=channels]')) element.hidden = !facts.channels
    for (const element of this.root.querySelectorAll('[data-only=label]')) element.hidden = !facts.label
    for (const element of this.root.querySelectorAll('[data-only=difference]')) element.hidden = !facts.difference
    if (!facts.difference && this.chosen('image') === 'difference') this.choose('image', 'after')
    this.root.querySelector('[data-says=note]').textContent = facts.note
    const range = facts.difference && `${round(facts.difference)} ${facts.unit}`
    this.root.querySelector('[data-says=lowest]').textContent = `−${range}`
    this.root.querySelector('[data-says=highest]').textContent = `+${range}`
    this.root.querySelector('[data-says=classes]').replaceChildren(...facts.classes.map(swatch))
  }

  /** The view: which planes, or the rendered volume. */
  look() {
    const nv = this.niivue
    const view = this.chosen('view')
    const solid = view === 'render'
    nv.opts.isNearestInterpolation = !solid // on slices every voxel stays as it is
    nv.setSliceType(VIEWS[view].type)
    this.control('slice').disabled = this.control('zoom').disabled = solid
    this.paint()
    nv.createOnLocationChange()
  }

  /** Draws once for all that happens before the next frame. */
  paint() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null
      this.setImage()
      this.niivue.updateGLVolume()
      this.root.dataset.drawn = Number(this.root.dataset.drawn ?? 0) + 1
    })
  }

  setImage() {
    const image = this.chosen('image')
    const blend = { before: 0, after: 100 }[image] ?? Number(this.control('blend').value)
    const solid = this.chosen('view') === 'render' ? '-solid' : ''
    const colours = (image === 'difference' ? 'difference' : 'grey') + solid
    const { shown } = this.case
    if (shown.colormap !== colours) shown.colormap = colours // first: NiiVue then chooses a window of its own
    if (image === 'difference') this.case.showDifference()
    else this.case.showBlend(blend / 100)
    const label = Number(this.control('label').value)
    if (this.case.label) this.case.label.opacity = label / 100
    if (image !== 'difference') this.say('blend', blend, `${blend} % ${this.case.facts.after.name}`)
    this.root.querySelector('.viewer-bar-difference').classList.toggle('faint', image !== 'difference')
    this.say('label', label, `${label} %`)
  }

  say(name, value, text) {
    const control = this.control(name)
    control.value = value
    control.setAttribute('aria-valuetext', text)
    this.root.querySelector(`[data-value=${name}]`).textContent = text
  }

  goTo(slice) {
    const nv = this.niivue
    const { axis } = VIEWS[this.chosen('view')]
    const voxel = nv.frac2vox(nv.scene.crosshairPos)
    voxel[axis] = slice - 1
    nv.scene.crosshairPos = nv.vox2frac(voxel)
    nv.createOnLocationChange()
    nv.drawScene()
  }

  /** Enlarges around the crosshair, which stays where it is. */
  zoom() {
    const nv = this.niivue
    const [x, y, z, before] = nv.scene.pan2Dxyzmm
    const factor = Number(this.control('zoom').value)
    const centre = nv.frac2mm(nv.scene.crosshairPos)
    const moved = [x, y, z].map((pan, i) => (factor === 1 ? 0 : pan + (before - factor) * centre[i]))
    nv.setPan2Dxyzmm([...moved, factor])
    this.say('zoom', factor, `${factor}×`)
  }

  /** Follows the crosshair: the slice, the place, and both values there. */
  moved() {
    const nv = this.niivue
    const { axis } = VIEWS[this.chosen('view')]
    const count = nv.volumes[0].dimsRAS[axis + 1]
    const slice = nv.frac2vox(nv.scene.crosshairPos)[axis] + 1
    this.control('slice').max = count
    this.say('slice', slice, `${slice} of ${count}`)
    const { before, after, facts } = this.case
    const mm = nv.frac2mm(nv.scene.crosshairPos)
    const values = [before, after].map((image) => image.getValue(...image.mm2vox([...mm.slice(0, 3)])))
    const place = [...mm.slice(0, facts.dims)].map((x) => round(Number(x.toFixed(1)))).join(', ')
    const named = [facts.before, facts.after].map(({ name, unit }, i) => `${name} ${round(values[i])} ${unit}`)
    if (facts.difference) named.push(`difference ${round(values[1] - values[0])} ${facts.unit}`)
    this.root.querySelector('[data-says=place]').textContent = `At (${place}) ${facts.length_unit || "mm"}: ${named.join(' · ')}`
  }

  /** Keys on the picture; those of NiiVue itself are not used. */
  pressed(event) {
    const step = { ArrowUp: 1, PageUp: 10, ArrowDown: -1, PageDown: -10 }[event.key]
    const slide = { ArrowRight: 10, ArrowLeft: -10 }[event.key]
    event.stopPropagation()
    if (step) {
      const control = this.control('slice')
      if (!control.disabled) this.goTo(Math.min(Math.max(Number(control.value) + step, 1), Number(control.max)))
    } else if (slide) {
      this.control('blend').value = Number(this.control('blend').value) + slide
      this.choose('image', 'blend')
      this.paint()
    } else if (event.key === ' ') {
      this.choose('image', this.chosen('image') === 'before' ? 'after' : 'before')
      this.paint()
    } else return
    event.preventDefault()
  }
}

function labelColours(classes) {
  const colours = [{ value: 0, rgb: [0, 0, 0], name: '' }, ...classes]
  const channel = (i) => colours.map(({ rgb }) => rgb[i])
  return {
    R: channel(0),
    G: channel(1),
    B: channel(2),
    A: colours.map(({ value }) => (value ? 255 : 0)),
    I: colours.map(({ value }) => value),
    labels: colours.map(({ name }) => name),
  }
}

function swatch({ rgb, name }) {
  const item = document.createElement('span')
  const square = document.createElement('i')
  square.style.background = `rgb(${rgb.join(' ')})`
  item.className = 'viewer-class'
  item.append(square, name)
  return item
}

function capital(name) {
  return name[0].toUpperCase() + name.slice(1)
}

/** Three significant digits, with a true minus sign. */
function round(value) {
  return String(Number(value.toPrecision(Math.abs(value) >= 1000 ? 4 : 3))).replace('-', '−')
}
