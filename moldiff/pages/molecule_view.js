"use strict";
// A molecule on a canvas, turned with the pointer. A molecule is {elements, pos: [[x, y, z]] in angstrom around its
// centre, bonds: [[i, j, order]] with 1.5 for an aromatic one}.
const COLOURS = { H: "#e8e8e8", C: "#555", N: "#3556d8", O: "#d22f27", F: "#62b73c", S: "#d9b310", P: "#e07f1c",
                  Cl: "#2fa02f", Br: "#9b3a1d", I: "#7a2fa0" };
const RADII = { H: 0.26, F: 0.36, O: 0.38, N: 0.39, C: 0.41 };

class MoleculeView {
  constructor(canvas, label, molecule = null) {  // the label is for those who do not see it
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", label);
    Object.assign(this, { canvas, molecule, context: canvas.getContext("2d"), turn: 0.4, tilt: 0.3, zoom: 1 });
    let drag = null;
    canvas.onpointerdown = event => {
      drag = [event.clientX, event.clientY];
      canvas.setPointerCapture(event.pointerId);
    };
    canvas.onpointerup = canvas.onpointercancel = () => { drag = null; };
    canvas.onpointermove = event => {
      if (!drag) return;
      this.turn += (event.clientX - drag[0]) / 150;
      this.tilt += (event.clientY - drag[1]) / 150;
      drag = [event.clientX, event.clientY];
      this.draw();
    };
    this.held = () => drag !== null;
  }

  zoomByWheel() {
    this.canvas.onwheel = event => {
      event.preventDefault();
      this.zoom *= Math.exp(-event.deltaY / 800);
      this.draw();
    };
  }

  rotated([x, y, z]) {
    const a = Math.cos(this.turn), b = Math.sin(this.turn), c = Math.cos(this.tilt), d = Math.sin(this.tilt);
    const u = a * x + b * z, w = a * z - b * x;
    return [u, c * y - d * w, d * y + c * w];
  }

  line(from, to, shift, width) {
    const dx = to[0] - from[0], dy = to[1] - from[1], length = Math.hypot(dx, dy) || 1;
    const x = -dy / length * shift, y = dx / length * shift;
    this.context.lineWidth = width;
    this.context.beginPath();
    this.context.moveTo(from[0] + x, from[1] + y);
    this.context.lineTo(to[0] + x, to[1] + y);
    this.context.stroke();
  }

  bond(from, to, order, scale) {
    const gap = 0.09 * scale, width = Math.max(1.5, 0.07 * scale), aromatic = order === 1.5;
    this.context.strokeStyle = "#888";
    this.context.setLineDash([]);
    if (order === 3) [-1.4, 0, 1.4].forEach(k => this.line(from, to, k * gap, width));
    else if (order === 2) [-1, 1].forEach(k => this.line(from, to, k * gap, width));
    else this.line(from, to, aromatic ? -gap : 0, width);
    if (aromatic) {
      this.context.setLineDash([0.15 * scale, 0.12 * scale]);
      this.line(from, to, gap, width);
    }
    this.context.setLineDash([]);
  }

  draw() {
    const { canvas, context, molecule } = this;
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    if (!molecule) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const reach = Math.max(3, ...molecule.pos.map(p => Math.hypot(...p))) + 0.6;
    const scale = this.zoom * Math.min(width, height) / 2 / reach;
    const points = molecule.pos.map(p => this.rotated(p))
      .map(([x, y, z]) => [width / 2 + x * scale, height / 2 - y * scale, z]);
    // far things first: each bond at the depth of its middle, each atom at its own
    const things = molecule.bonds.map(([i, j, order]) => ({
      depth: (points[i][2] + points[j][2]) / 2 - 0.2, paint: () => this.bond(points[i], points[j], order, scale) }));
    molecule.elements.forEach((symbol, i) => things.push({ depth: points[i][2], paint: () => {
      context.beginPath();
      context.arc(points[i][0], points[i][1], Math.max(2, (RADII[symbol] || 0.45) * scale), 0, 2 * Math.PI);
      context.fillStyle = COLOURS[symbol] || "#c070c0";
      context.fill();
      context.lineWidth = 1;
      context.strokeStyle = "#333";
      context.stroke();
    } }));
    things.sort((a, b) => a.depth - b.depth).forEach(thing => thing.paint());
  }
}
