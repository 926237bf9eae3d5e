// The page at /ui. It uses the routes that any client may use:
//   POST /v1/detect, /v1/identify   a picture as the body
//   GET, POST /v1/people            a page of people; a form with id, name, consent, file
//   DELETE /v1/people/ID
//   GET /readyz, /metrics
'use strict';

const $ = (id) => document.getElementById(id);
const TYPES = ['image/jpeg', 'image/png', 'image/webp'];

// ---- calls ----

function say(text) {
  $('message').textContent = text;
  $('message').hidden = !text;
}

function withCollection(path) {
  const collection = $('collection').value.trim();
  if (!collection) return path;
  return path + (path.includes('?') ? '&' : '?') + 'collection=' + encodeURIComponent(collection);
}

// The answer, or an Error whose message is for people.
async function call(method, path, body, headers = {}) {
  const key = sessionStorage.getItem('key');
  if (key) headers['X-API-Key'] = key;
  let response;
  try {
    response = await fetch(path, {method, body, headers, cache: 'no-store'});
  } catch {
    throw new Error('The server cannot be reached.');
  }
  if (response.ok) return response;
  let detail = '';
  try {
    const problem = await response.json();
    detail = problem.detail || problem.title || problem.message || '';
  } catch { /* an answer without JSON says enough by its status */ }
  if (response.status === 401 || response.status === 403) {
    detail = (detail || 'Not allowed.') + ' Enter an API key that may do this.';
  }
  throw new Error(detail || `The server answers ${response.status}.`);
}

// Runs what a person asked for; what goes wrong is shown.
async function attempt(action) {
  say('');
  try {
    await action();
  } catch (e) {
    say(e.message);
  }
}

// ---- faces ----

function boxOf(face) {
  const b = face.box || face.bbox;
  return Array.isArray(b) ? {x: b[0], y: b[1], width: b[2], height: b[3]} : b;
}

function pointsOf(face) {
  return (face.landmarks || []).map((p) => (Array.isArray(p) ? p : [p.x, p.y]));
}

function percent(v) {
  return `${Math.round(v * 100)} %`;
}

// What is known of a match: an exact score for those who may see it, a band for the others.
function matchText(match) {
  const name = match.name || match.person || match.id;
  const how = typeof match.score === 'number' ? match.score.toFixed(3) : match.band;
  return how ? `${name} (${how})` : name;
}

function titleOf(face, i) {
  const best = (face.matches || [])[0];
  return best ? matchText(best) : face.matches ? 'nobody known' : `face ${i + 1}`;
}

function drawFaces(bitmap, faces) {
  const canvas = $('canvas');
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  const c = canvas.getContext('2d');
  const unit = Math.max(bitmap.width, bitmap.height) / 400;
  c.drawImage(bitmap, 0, 0);
  c.lineWidth = Math.max(1, unit);
  c.font = `${Math.max(12, 10 * unit)}px system-ui, sans-serif`;
  c.textBaseline = 'bottom';
  faces.forEach((face, i) => {
    const b = boxOf(face);
    c.strokeStyle = c.fillStyle = face.matches && face.matches.length ? '#35d07f' : '#ffc53d';
    c.strokeRect(b.x, b.y, b.width, b.height);
    for (const [x, y] of pointsOf(face)) {
      c.beginPath();
      c.arc(x, y, Math.max(1.5, 1.2 * unit), 0, 2 * Math.PI);
      c.fill();
    }
    const title = titleOf(face, i);
    const width = c.measureText(title).width + 6 * unit;
    const height = Math.max(14, 13 * unit);
    const top = Math.max(height, b.y);
    c.fillRect(b.x, top - height, width, height);
    c.fillStyle = '#10131a';
    c.fillText(title, b.x + 3 * unit, top - unit);
  });
  canvas.hidden = false;
  canvas.setAttribute('aria-label', `A picture with ${faces.length} face${faces.length === 1 ? '' : 's'}`);
}

function listFaces(faces) {
  $('faces').replaceChildren(...faces.map((face, i) => {
    const item = document.createElement('li');
    const small = document.createElement('small');
    const facts = [];
    const score = face.score ?? face.confidence;
    if (typeof score === 'number') facts.push(`found with ${percent(score)}`);
    const quality = face.quality?.score ?? face.quality;
    if (typeof quality === 'number') facts.push(`quality ${percent(quality)}`);
    const others = (face.matches || []).slice(1).map(matchText);
    if (others.length) facts.push(`or ${others.join(', ')}`);
    item.textContent = titleOf(face, i) + ' ';
    small.textContent = facts.join(' · ');
    item.append(small);
    return item;
  }));
  if (!faces.length) {
    const item = document.createElement('li');
    item.textContent = 'no face in this picture';
    $('faces').append(item);
  }
}

async function look(blob) {
  if (!TYPES.includes(blob.type)) throw new Error('A photo is a JPEG, PNG or WebP picture.');
  const path = $('identify').checked ? withCollection('/v1/identify') : '/v1/detect';
  const [bitmap, response] = await Promise.all([
    createImageBitmap(blob).catch(() => null),
    call('POST', path, blob, {'Content-Type': blob.type}),
  ]);
  const {faces} = await response.json();
  if (bitmap) drawFaces(bitmap, faces);
  listFaces(faces);
}

// ---- camera ----

let stream = null;

function stopCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  $('video').hidden = $('shoot').hidden = true;
  $('camera').textContent = 'Use the camera';
}

async function startCamera() {
  if (!navigator.mediaDevices) throw new Error('Browsers give the camera to https and localhost only.');
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: 'user'}});
  } catch {
    throw new Error('The camera is not available.');
  }
  $('video').srcObject = stream;
  await $('video').play();
  $('video').hidden = $('shoot').hidden = false;
  $('camera').textContent = 'Stop the camera';
}

async function shoot() {
  const video = $('video');
  const frame = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  frame.getContext('2d').drawImage(video, 0, 0);
  stopCamera();
  await look(await frame.convertToBlob({type: 'image/jpeg', quality: 0.92}));
}

// ---- people ----

let next = null; // where the list of people goes on

function personRow(person) {
  const row = document.createElement('tr');
  const faces = Array.isArray(person.faces) ? person.faces.length : person.faces ?? person.face_count ?? '';
  for (const text of [person.id, person.name || '', faces]) {
    const cell = document.createElement('td');
    cell.textContent = text;
    row.append(cell);
  }
  const cell = document.createElement('td');
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Delete';
  button.setAttribute('aria-label', `Delete ${person.name || person.id}`);
  button.addEventListener('click', () => attempt(async () => {
    if (!confirm(`Delete ${person.name || person.id} and all their faces?`)) return;
    await call('DELETE', withCollection('/v1/people/' + encodeURIComponent(person.id)));
    row.remove();
    await listPeople();
  }));
  cell.append(button);
  row.append(cell);
  return row;
}

async function listPeople(after = null) {
  const path = withCollection('/v1/people?limit=50' + (after ? '&after=' + encodeURIComponent(after) : ''));
  const page = await (await call('GET', path)).json();
  const rows = page.people.map(personRow);
  if (after) $('people').append(...rows);
  else $('people').replaceChildren(...rows);
  next = page.next || null;
  $('more').hidden = !next;
  const count = $('people').children.length;
  $('people-note').textContent = count ? `${count}${next ? ' shown' : ''}` : 'Nobody is enrolled yet.';
}

async function enrol() {
  const form = new FormData();
  form.append('id', $('person-id').value.trim());
  if ($('person-name').value.trim()) form.append('name', $('person-name').value.trim());
  form.append('consent', 'true');
  form.append('file', $('person-photo').files[0]);
  await call('POST', withCollection('/v1/people'), form);
  $('enrol').reset();
  await listPeople();
}

// ---- metrics ----

// Lines of name{labels} value, as a map of "name{labels}" and a way to sum by name.
function readMetrics(text) {
  const samples = [];
  for (const line of text.split('\n')) {
    const found = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (found) samples.push({name: found[1], labels: found[2] || '', value: Number(found[3].replace('Inf', 'Infinity'))});
  }
  return samples;
}

function sum(samples, name, part = '') {
  return samples.filter((s) => s.name === name && s.labels.includes(part)).reduce((a, s) => a + s.value, 0);
}

function byLabel(samples, name, label) {
  const sums = new Map();
  for (const s of samples) {
    const found = s.name === name && new RegExp(`(?:^|,)${label}="((?:[^"\\\\]|\\\\.)*)"`).exec(s.labels);
    if (found) sums.set(found[1], (sums.get(found[1]) || 0) + s.value);
  }
  return sums;
}

function tile(name, value) {
  const box = document.createElement('div');
  const term = document.createElement('dt');
  const text = document.createElement('dd');
  term.textContent = name;
  text.textContent = value;
  box.append(term, text);
  return box;
}

function showMetrics(before, now, seconds) {
  const rate = (name, part) => (sum(now, name, part) - sum(before, name, part)) / seconds;
  $('tiles').replaceChildren(
    tile('requests per s', rate('uniface_requests_total').toFixed(1)),
    tile('errors per s', rate('uniface_requests_total', 'status="5').toFixed(1)),
    tile('in the queue', sum(now, 'uniface_queue_depth')),
    tile('processors used', rate('process_cpu_seconds_total').toFixed(2)),
    tile('memory', `${(sum(now, 'process_resident_memory_bytes') / 1048576).toFixed(0)} MiB`),
    tile('people', sum(now, 'uniface_gallery_people')));
  const name = 'uniface_request_seconds';
  const counts = [byLabel(before, name + '_count', 'route'), byLabel(now, name + '_count', 'route')];
  const sums = [byLabel(before, name + '_sum', 'route'), byLabel(now, name + '_sum', 'route')];
  const rows = [];
  for (const [route, count] of counts[1]) {
    const more = count - (counts[0].get(route) || 0);
    if (!more) continue;
    const row = document.createElement('tr');
    const mean = (sums[1].get(route) - (sums[0].get(route) || 0)) / more * 1000;
    for (const text of [route, (more / seconds).toFixed(1), mean.toFixed(1)]) {
      const cell = document.createElement('td');
      cell.textContent = text;
      row.append(cell);
    }
    rows.push(row);
  }
  $('routes').replaceChildren(...rows);
}

let last = null;

async function watch() {
  if (!document.hidden) {
    try {
      await call('GET', '/readyz');
      $('state').textContent = 'ready';
      const now = {at: performance.now(), samples: readMetrics(await (await call('GET', '/metrics')).text())};
      if (last) showMetrics(last.samples, now.samples, (now.at - last.at) / 1000);
      last = now;
    } catch (e) {
      $('state').textContent = e.message;
    }
  }
  setTimeout(watch, 2000);
}

// ---- the page ----

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  $('theme').setAttribute('aria-pressed', dark);
}

function listen() {
  $('theme').addEventListener('click', () => {
    setTheme($('theme').getAttribute('aria-pressed') !== 'true');
    localStorage.setItem('theme', document.documentElement.dataset.theme);
  });
  $('key-form').addEventListener('submit', (e) => {
    e.preventDefault();
    sessionStorage.setItem('key', $('key').value.trim());
    sessionStorage.setItem('collection', $('collection').value.trim());
    attempt(listPeople);
  });
  $('photo').addEventListener('change', () => {
    const file = $('photo').files[0];
    $('photo').value = '';
    if (file) attempt(() => look(file));
  });
  const drop = $('drop');
  for (const name of ['dragover', 'dragleave', 'drop']) {
    drop.addEventListener(name, (e) => {
      e.preventDefault();
      drop.classList.toggle('over', name === 'dragover');
      if (name === 'drop' && e.dataTransfer.files[0]) attempt(() => look(e.dataTransfer.files[0]));
    });
  }
  $('camera').addEventListener('click', () => (stream ? stopCamera() : attempt(startCamera)));
  $('shoot').addEventListener('click', () => attempt(shoot));
  $('enrol').addEventListener('submit', (e) => {
    e.preventDefault();
    attempt(enrol);
  });
  $('more').addEventListener('click', () => attempt(() => listPeople(next)));
}

const theme = localStorage.getItem('theme');
setTheme(theme ? theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches);
$('key').value = sessionStorage.getItem('key') || '';
$('collection').value = sessionStorage.getItem('collection') || '';
listen();
attempt(() => listPeople());
watch();
