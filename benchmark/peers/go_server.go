// Go: a goroutine per connection, nothing but the standard library.
//
// go_server.py says what its options are and starts it.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const (
	listeners = 2       // strict and slow connections, by what they would declare to our server
	longest   = 1 << 20 // bytes of a message
	order     = '!'     // as benchmark/peers/work.py has it

	rounds      = 20_000 // of computing between looks at the clock, some 40 microseconds
	interrupted = 4      // times what a chunk takes alone; a busy sibling core makes it two
	threadClock = 3      // CLOCK_THREAD_CPUTIME_ID of Linux, which package syscall does not name
)

var errEnvelope = errors.New("bad envelope")

// work is what a handler does when it is ordered to: compute for so much CPU time, then sleep.
type work struct {
	compute time.Duration
	chunk   time.Duration // of computing between looks at the clock, when nothing else runs
	sleep   time.Duration
}

func newWork(kind string, hold float64) *work {
	whole := time.Duration(hold * 1e9)
	switch kind {
	case "":
		return nil
	case "compute":
		return &work{compute: whole, chunk: calibrate()}
	case "sleep":
		return &work{sleep: whole}
	case "both":
		return &work{compute: whole / 2, chunk: calibrate(), sleep: whole / 2}
	}
	log.Fatalf("no such work: %s", kind)
	return nil
}

// carryOut measures the computing by the clock of the thread, a short chunk at a time. The
// goroutine is not tied to its thread, since that is not how Go programs are written. So a chunk
// that another goroutine interrupted ends on another thread, or took far longer than a chunk
// takes alone; it counts as one that was not interrupted.
func (w *work) carryOut() {
	for spent := time.Duration(0); spent < w.compute; {
		took, same := timeOfChunk()
		if !same || took > interrupted*w.chunk {
			took = w.chunk
		}
		spent += took
	}
	if w.sleep > 0 {
		time.Sleep(w.sleep)
	}
}

func calibrate() time.Duration {
	least := time.Hour
	for try := 0; try < 500; try++ {
		if took, same := timeOfChunk(); same && took < least {
			least = took
		}
	}
	return least
}

// timeOfChunk tells the CPU time that the thread used, and whether it was one and the same.
func timeOfChunk() (time.Duration, bool) {
	thread, before := threadTime()
	runtime.KeepAlive(compute(rounds))
	now, after := threadTime()
	return after - before, now == thread
}

//go:noinline
func compute(rounds int) uint64 {
	x := uint64(88172645463325252)
	for ; rounds > 0; rounds-- {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}

// threadTime tells which thread this is and how much CPU time it has used.
func threadTime() (uintptr, time.Duration) {
	var now syscall.Timespec
	thread, _, _ := syscall.RawSyscall(syscall.SYS_GETTID, 0, 0, 0)
	_, _, failed := syscall.RawSyscall(
		syscall.SYS_CLOCK_GETTIME, threadClock, uintptr(unsafe.Pointer(&now)), 0)
	if failed != 0 {
		log.Fatal(failed)
	}
	return thread, time.Duration(now.Nano())
}

// readMessage reads one envelope: a digit d, then d digits with the length, then the payload.
func readMessage(reader *bufio.Reader, header []byte) ([]byte, error) {
	width, err := reader.ReadByte()
	if err != nil {
		return nil, err
	}
	if width < '1' || width > '9' {
		return nil, errEnvelope
	}
	digits := header[:width-'0']
	if _, err := io.ReadFull(reader, digits); err != nil {
		return nil, err
	}
	length := 0
	for _, digit := range digits {
		if digit < '0' || digit > '9' {
			return nil, errEnvelope
		}
		length = 10*length + int(digit-'0')
	}
	if len(digits) > 1 && digits[0] == '0' || length > longest {
		return nil, errEnvelope
	}
	message := make([]byte, length)
	_, err = io.ReadFull(reader, message)
	return message, err
}

func writeMessage(writer *bufio.Writer, message []byte) {
	length := strconv.Itoa(len(message))
	writer.WriteByte(byte('0' + len(length)))
	writer.WriteString(length)
	writer.Write(message) // the first error stays in the writer, and Flush returns it
}

// serve handles one connection, and writes replies when it has handled all that it has read.
func serve(connection net.Conn, work *work) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	writer := bufio.NewWriter(connection)
	header := make([]byte, 9)
	for {
		message, err := readMessage(reader, header)
		if err != nil {
			writer.Flush()
			return
		}
		if work != nil && len(message) > 0 && message[0] == order {
			work.carryOut()
		}
		writeMessage(writer, message)
		if reader.Buffered() == 0 {
			if writer.Flush() != nil {
				return
			}
		}
	}
}

func accept(listener net.Listener, work *work) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(connection, work)
	}
}

func main() {
	kind := flag.String("work", "", "what an order has a handler do; none obeys no orders")
	hold := flag.Float64("hold", 0.020, "seconds of it")
	processors := flag.Int("processors", 2, "that run goroutines at a time")
	flag.Parse()
	runtime.GOMAXPROCS(*processors)
	work := newWork(*kind, *hold)
	urls := make([]string, listeners)
	for index := range urls {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		urls[index] = "tcp://" + listener.Addr().String()
		go accept(listener, work)
	}
	first, err := json.Marshal(map[string][]string{"urls": urls})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(first))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println("{}")
	}
}
