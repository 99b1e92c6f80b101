package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// lifetime is that of every certificate: a test cluster is thrown away long before.
	lifetime = 3 * 24 * time.Hour
	// local is the API server for what runs beside it, remote for the nodes and for the pods that are told so.
	local  = "127.0.0.1"
	remote = "10.89.0.1"
	// service is the first address of the range that Services get: the API server's own Service.
	service = "10.96.0.1"
)

// authority signs every certificate of one cluster.
type authority struct {
	folder string
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	serial int64
}

// writePKI fills folder with a new authority, the servers' and users' keys and certificates, a kubeconfig for each user, and the
// key pair that signs ServiceAccount tokens. Each node is NAME=ADDRESS.
func writePKI(folder string, nodes []string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(folder)
	if err != nil {
		return err
	}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	if err := ca.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, names, []string{local, remote, service}); err != nil {
		return err
	}
	users := []struct{ file, name, group, server string }{
		{"admin", "test-admin", "system:masters", local},
		{"controllers", "system:kube-controller-manager", "", local},
		{"scheduler", "system:kube-scheduler", "", local},
		{"dns", "test-dns", "system:masters", local},
		{"proxy", "system:kube-proxy", "", remote},
		{"kubelet-client", "test-kubelet-client", "system:masters", local},
	}
	for _, user := range users {
		subject := pkix.Name{CommonName: user.name}
		if user.group != "" {
			subject.Organization = []string{user.group}
		}
		if err := ca.user(user.file, subject, nil, nil, user.server); err != nil {
			return err
		}
	}
	for _, node := range nodes {
		name, address, found := strings.Cut(node, "=")
		if !found {
			return fmt.Errorf("node %q is not NAME=ADDRESS", node)
		}
		subject := pkix.Name{CommonName: "system:node:" + name, Organization: []string{"system:nodes"}}
		if err := ca.user(name, subject, []string{name}, []string{address}, remote); err != nil {
			return err
		}
	}
	return ca.serviceAccounts()
}

func newAuthority(folder string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test-authority"},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(lifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	ca := &authority{folder: folder, key: key, cert: cert, serial: 1}
	if err := ca.writePEM("ca.crt", "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return ca, ca.writeKey("ca.key", key)
}

// user issues a certificate and writes the kubeconfig that uses it.
func (ca *authority) user(file string, subject pkix.Name, names, addresses []string, server string) error {
	if err := ca.issue(file, subject, names, addresses); err != nil {
		return err
	}
	return ca.kubeconfig(file, server)
}

// issue writes file.crt and file.key, for a server and a client alike.
func (ca *authority) issue(file string, subject pkix.Name, names, addresses []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca.serial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(ca.serial),
		Subject:      subject,
		NotBefore:    ca.cert.NotBefore,
		NotAfter:     ca.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:     names,
	}
	for _, address := range addresses {
		ip := net.ParseIP(address)
		if ip == nil {
			return fmt.Errorf("%q is not an IP address", address)
		}
		template.IPAddresses = append(template.IPAddresses, ip)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return err
	}
	if err := ca.writePEM(file+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return ca.writeKey(file+".key", key)
}

// serviceAccounts writes the key pair that signs and verifies ServiceAccount tokens.
func (ca *authority) serviceAccounts() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := ca.writePEM("service-accounts.pub", "PUBLIC KEY", public); err != nil {
		return err
	}
	return ca.writeKey("service-accounts.key", key)
}

func (ca *authority) kubeconfig(file, server string) error {
	type object map[string]any
	in := func(name string) string { return filepath.Join(ca.folder, name) }
	config := object{
		"apiVersion":      "v1",
		"kind":            "Config",
		"current-context": "test",
		"clusters": []object{{"name": "test", "cluster": object{
			"server": "https://" + net.JoinHostPort(server, "443"), "certificate-authority": in("ca.crt"),
		}}},
		"users": []object{{"name": file, "user": object{
			"client-certificate": in(file + ".crt"), "client-key": in(file + ".key"),
		}}},
		"contexts": []object{{"name": "test", "context": object{"cluster": "test", "user": file}}},
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(in(file+".kubeconfig"), text, 0o600)
}

func (ca *authority) writeKey(name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return ca.writePEM(name, "EC PRIVATE KEY", der)
}

func (ca *authority) writePEM(name, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return os.WriteFile(filepath.Join(ca.folder, name), text, 0o600)
}
